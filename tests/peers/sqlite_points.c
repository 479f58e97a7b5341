/* What SQLite takes for what `cargo bench -p kodiak --bench keys` measures: a million rows, a row by its primary key
 * through a prepared statement, with three columns read, keys asked for in the same order.
 *
 *   cc -O2 -o /tmp/sqlite_points tests/peers/sqlite_points.c -lsqlite3 && /tmp/sqlite_points
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 1000000, STEP = 611953, ASKED = 200000, ROUNDS = 5 };

static void check(int found, int wanted, sqlite3 *db) {
    if (found != wanted) {
        fprintf(stderr, "%s\n", sqlite3_errmsg(db));
        exit(1);
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void load(sqlite3 *db, const char *table, int shuffled) {
    char text[256];
    sqlite3_stmt *insert;
    snprintf(text, sizeof text, "create table %s (id integer primary key, a int, name text, share double)", table);
    check(sqlite3_exec(db, text, 0, 0, 0), SQLITE_OK, db);
    snprintf(text, sizeof text, "insert into %s values (?, ?, ?, ?)", table);
    check(sqlite3_prepare_v2(db, text, -1, &insert, 0), SQLITE_OK, db);
    sqlite3_exec(db, "begin", 0, 0, 0);
    for (long long row = 0; row < ROWS; row++) {
        snprintf(text, sizeof text, "name %lld", row);
        sqlite3_bind_int64(insert, 1, shuffled ? row * STEP % ROWS : row);
        sqlite3_bind_int64(insert, 2, row % 50000);
        sqlite3_bind_text(insert, 3, text, -1, SQLITE_TRANSIENT);
        sqlite3_bind_double(insert, 4, row * 0.5);
        check(sqlite3_step(insert), SQLITE_DONE, db);
        sqlite3_reset(insert);
    }
    sqlite3_exec(db, "commit", 0, 0, 0);
    sqlite3_finalize(insert);
}

int main(void) {
    sqlite3 *db;
    const char *tables[] = {"sorted", "shuffled"};
    check(sqlite3_open_v2("/tmp/sqlite_points.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0), SQLITE_OK, db);
    sqlite3_exec(db, "pragma journal_mode = wal; pragma cache_size = -262144; drop table if exists sorted; drop table if exists shuffled", 0, 0, 0);
    for (int table = 0; table < 2; table++) {
        char text[128];
        sqlite3_stmt *find;
        double best = 1e18, sum = 0;
        long long at = 0;
        load(db, tables[table], table);
        snprintf(text, sizeof text, "select a, name, share from %s where id = ?", tables[table]);
        check(sqlite3_prepare_v2(db, text, -1, &find, 0), SQLITE_OK, db);
        for (int round = 0; round < ROUNDS; round++) {
            double start = now();
            for (int asked = 0; asked < ASKED; asked++) {
                at = (at + STEP) % ROWS;
                sqlite3_bind_int64(find, 1, at);
                check(sqlite3_step(find), SQLITE_ROW, db);
                sum += sqlite3_column_int(find, 0) + sqlite3_column_bytes(find, 1) + sqlite3_column_double(find, 2);
                sqlite3_reset(find);
            }
            double took = (now() - start) / ASKED;
            best = took < best ? took : best;
        }
        printf("sqlite %s, point by a prepared statement, %s: %.3f us (sum %.0f)\n", sqlite3_libversion(), tables[table],
               best, sum);
        fflush(stdout);
        sqlite3_finalize(find);
    }
    sqlite3_close(db);
    remove("/tmp/sqlite_points.db");
    return 0;
}
