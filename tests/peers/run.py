"""Kodiak beside DuckDB on TPC-H: load times, size on disk, the 22 queries, and the queries with little memory.

Both work on the same files, in one run, on the same machine, by turns; every answer is compared before a time counts.
Ratios are Kodiak's time to DuckDB's: below 1 Kodiak is faster. It refuses to judge a run whose answers differ.

    python3 -m venv peers && peers/bin/pip install -r tests/peers/requirements.txt
    cargo build --release -p kodiak
    peers/bin/python tests/peers/run.py --kodiak target/release/kodiak
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
NUMBERS = ("SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "REAL", "DECIMAL", "HUGEINT", "TINYINT", "UBIGINT")


class Kodiak:
    """One session of the program, spoken to by lines of JSON."""

    def __init__(self, program, database, settings=()):
        command = [program, "--db", str(database), "sql", "--protocol", "jsonl"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for setting in settings:
            self.run(setting)

    def run(self, sql):
        """The answer, and the seconds from sending the statement to having read it."""
        started = time.perf_counter()
        self.process.stdin.write(json.dumps({"sql": sql}) + "\n")
        line = self.process.stdout.readline()
        seconds = time.perf_counter() - started
        if not line:
            raise RuntimeError(f"kodiak ended in: {sql[:80]}")
        answer = json.loads(line)
        if not answer["ok"]:
            raise RuntimeError(f"{answer['error']['message']} in: {sql[:200]}")
        return answer, seconds

    def rows(self, sql):
        answer, seconds = self.run(sql)
        kinds = [kind.startswith(NUMBERS) for kind in answer["types"]]
        rows = []
        for row in answer["rows"]:
            values = row.values() if isinstance(row, dict) else row
            rows.append([None if v is None else float(v) if number else str(v) for v, number in zip(values, kinds)])
        return rows, seconds

    def peak_mb(self):
        """The most memory the process ever had to itself: mapped files of the database do not count."""
        status = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("Anonymous:")) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Duck:
    """One connection to DuckDB."""

    def __init__(self, database, settings=()):
        self.connection = duckdb.connect(str(database))
        for setting in settings:
            self.connection.execute(setting)

    def run(self, sql):
        started = time.perf_counter()
        rows = self.connection.execute(sql).fetchall()
        return rows, time.perf_counter() - started

    def rows(self, sql):
        rows, seconds = self.run(sql)
        kinds = [str(column[1]).upper() for column in self.connection.description]
        number = [kind.startswith(NUMBERS) or kind == "NUMBER" for kind in kinds]
        shown = [[None if v is None else float(v) if n else str(v) for v, n in zip(row, number)] for row in rows]
        return shown, seconds

    def close(self):
        self.connection.close()


def same(ours, theirs):
    """Whether both answers are equal: numbers to nine digits, because decimal quotients are rounded differently."""

    def close(a, b):
        if isinstance(a, float) and isinstance(b, float):
            return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5)
        return a == b

    return len(ours) == len(theirs) and all(
        len(one) == len(other) and all(map(close, one, other)) for one, other in zip(ours, theirs)
    )


def statements(keys):
    text = (HERE / "tpch" / "schema.sql").read_text()
    for line in filter(None, text.splitlines()):
        yield line if keys else line[: line.index(", PRIMARY KEY")] + ");"


def prepare(program, work, scale):
    """The tables as CSV and Parquet, made once by Kodiak's own generator."""
    data = work / f"data-{scale:g}"
    if (data / "done").exists():
        return data
    tour = work / "tour"
    shutil.rmtree(tour, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    home = dict(os.environ, KODIAK_HOME=str(work / "home"))
    command = [program, "quickstart", str(tour), "--scale-factor", f"{scale:g}"]
    # The walk goes on to extensions, which this folder has no sources of; the tables stand by then.
    subprocess.run(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    database = next(tour.rglob("*.kdb"))
    kodiak = Kodiak(program, database)
    for table in TABLES:
        kodiak.run(f"COPY {table} TO '{data}/{table}.csv' (HEADER true)")
        kodiak.run(f"COPY {table} TO '{data}/{table}.parquet'")
    kodiak.close()
    shutil.rmtree(tour)
    (data / "done").touch()
    return data


def size_mb(path):
    if path.is_file():
        return path.stat().st_size / 1e6
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def fresh(path):
    for stale in (path, Path(f"{path}.wal")):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)
    return path


def read(data, table, kind):
    source = f"read_{kind}('{data}/{table}.{kind}')"
    return f"COPY {table} FROM '{data}/{table}.csv' (HEADER true)" if kind == "csv" else f"INSERT INTO {table} SELECT * FROM {source}"


def load(program, work, data, threads, rounds):
    """lineitem from CSV and from Parquet, without and with its primary key, into empty databases."""
    print(f"\nload of lineitem, {threads} threads, seconds (median of {rounds}), and megabytes on disk after it")
    print(f"{'':26}{'kodiak':>9}{'duckdb':>9}{'ratio':>8}{'kodiak':>9}{'duckdb':>9}{'ratio':>8}")
    for keys in (False, True):
        for kind in ("csv", "parquet"):
            ours, theirs, sizes = [], [], None
            for _ in range(rounds):
                paths = fresh(work / "load.kdb"), fresh(work / "load.duckdb")
                kodiak = Kodiak(program, paths[0], [f"SET threads = {threads}"])
                duck = Duck(paths[1], [f"SET threads = {threads}"])
                table = [line for line in statements(keys) if line.startswith("CREATE TABLE lineitem")][0]
                for session, times in ((kodiak, ours), (duck, theirs)):
                    session.run(table)
                    times.append(session.run(read(data, "lineitem", kind))[1])
                    session.run("CHECKPOINT")
                counts = [float(session.rows("SELECT count(*) FROM lineitem")[0][0][0]) for session in (kodiak, duck)]
                assert counts[0] == counts[1], counts
                kodiak.close()
                duck.close()
                sizes = [size_mb(path) for path in paths]
            one, other = statistics.median(ours), statistics.median(theirs)
            label = f"{kind}, {'primary key' if keys else 'no key'}"
            print(
                f"{label:26}{one:9.2f}{other:9.2f}{one / other:8.2f}{sizes[0]:9.0f}{sizes[1]:9.0f}{sizes[0] / sizes[1]:8.2f}",
                flush=True,
            )
    fresh(work / "load.kdb"), fresh(work / "load.duckdb")


def databases(program, work, data, threads, again):
    """All eight tables in both, loaded from Parquet. Kodiak has its keys; DuckDB is quicker without them."""
    paths = work / "tpch.kdb", work / "tpch.duckdb"
    made = Kodiak, Duck
    if again:
        fresh(paths[0])
    for path, keys in zip(paths, (True, False)):
        if path.exists():
            continue
        settings = [f"SET threads = {threads}"]
        session = Kodiak(program, path, settings) if path.suffix == ".kdb" else Duck(path, settings)
        seconds = 0
        for statement in statements(keys):
            session.run(statement)
        for table in TABLES:
            seconds += session.run(f"INSERT INTO {table} SELECT * FROM read_parquet('{data}/{table}.parquet')")[1]
        session.run("CHECKPOINT")
        session.close()
        print(f"{path.name}: all tables in {seconds:.2f} s, {size_mb(path):.0f} MB")
    return paths


def queries(program, paths, threads, rounds, names, settings):
    """The queries by turns; the first round is for warming and comparing, and does not count."""
    common = [f"SET threads = {threads}"]
    kodiak, duck = Kodiak(program, paths[0], common + settings), Duck(paths[1], common)
    print(f"\nqueries, {threads} threads, warm, milliseconds: median of {rounds}, and the least")
    print(f"{'':6}{'kodiak':>9}{'duckdb':>9}{'ratio':>8}{'least':>9}{'least':>9}{'ratio':>8}")
    medians, leasts, wrong = [], [], []
    for name in names:
        sql = (HERE / "tpch" / f"{name}.sql").read_text()
        ours, theirs = [], []
        for round in range(rounds + 1):
            try:
                one, seconds = kodiak.rows(sql)
            except RuntimeError as error:
                print(name, error)
                sys.exit(1)
            other, their_seconds = duck.rows(sql)
            if round == 0:
                if not same(one, other):
                    wrong.append(name)
                    print(f"{name}: the answers differ\n  kodiak {one[:3]}\n  duckdb {other[:3]}")
                continue
            ours.append(seconds * 1e3)
            theirs.append(their_seconds * 1e3)
        median = statistics.median(ours), statistics.median(theirs)
        least = min(ours), min(theirs)
        medians.append(median[0] / median[1])
        leasts.append(least[0] / least[1])
        print(
            f"{name:6}{median[0]:9.1f}{median[1]:9.1f}{medians[-1]:8.2f}{least[0]:9.1f}{least[1]:9.1f}{leasts[-1]:8.2f}",
            flush=True,
        )
    print(f"geometric mean of ratios: {statistics.geometric_mean(medians):.3f} by medians, "
          f"{statistics.geometric_mean(leasts):.3f} by the least")
    print(f"answers agree in {len(names) - len(wrong)} of {len(names)}")
    kodiak.close()
    duck.close()
    return not wrong


def little_memory(program, paths, threads, limit, names):
    """Every query with a bound on memory; the answers must be the same."""
    kodiak = Kodiak(program, paths[0], [f"SET threads = {threads}", f"SET memory_limit = '{limit}'"])
    duck = Duck(paths[1])
    print(f"\nqueries with memory_limit {limit}, milliseconds; memory that is not a mapped file, after each, MB")
    failed = []
    for name in names:
        sql = (HERE / "tpch" / f"{name}.sql").read_text()
        try:
            rows, seconds = kodiak.rows(sql)
        except RuntimeError as error:
            failed.append(name)
            print(f"{name:6} {error}")
            continue
        verdict = "" if same(rows, duck.rows(sql)[0]) else "  the answers differ"
        if verdict:
            failed.append(name)
        print(f"{name:6}{seconds * 1e3:9.1f}{kodiak.peak_mb():9.0f}{verdict}", flush=True)
    print(f"{len(names) - len(failed)} of {len(names)} queries finish with the right answer")
    kodiak.close()
    duck.close()
    return not failed


def opening(program, path, rounds):
    """From starting the program to its first row, on the loaded database and on none."""
    times = {}
    for label, database in (("in memory", None), ("loaded", path)):
        command = [program, *(["--db", str(database)] if database else []), "sql", "-c", "SELECT 1"]
        runs = []
        for _ in range(rounds):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            runs.append((time.perf_counter() - started) * 1e3)
        times[label] = statistics.median(runs)
    print(f"\nwhole process for SELECT 1: in memory {times['in memory']:.1f} ms, on the loaded database "
          f"{times['loaded']:.1f} ms")


def feather(path):
    """Every segment, read by another implementation of Arrow."""
    import pyarrow

    files = rows = 0
    for file in sorted((path / "segments").glob("*.arrow")):
        with pyarrow.memory_map(str(file)) as source:
            reader = pyarrow.ipc.open_file(source)
            for batch in range(reader.num_record_batches):
                group = reader.get_batch(batch)
                group.validate(full=True)
                rows += group.num_rows
        files += 1
    print(f"\npyarrow {pyarrow.__version__} reads {files} segments, {rows} rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kodiak", default="target/release/kodiak")
    parser.add_argument("--work", type=Path, default=Path("target/peers"))
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", nargs="*", default=[f"q{number:02}" for number in range(1, 23)])
    parser.add_argument("--set", action="append", default=[], help="a statement for Kodiak's session")
    parser.add_argument("--memory", default="256MB")
    parser.add_argument("--again", action="store_true", help="load Kodiak's database again")
    parser.add_argument("parts", nargs="*", default=["load", "queries", "memory", "opening", "feather"])
    args = parser.parse_args()
    program = str(Path(args.kodiak).resolve())
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = prepare(program, work, args.scale)
    print(f"TPC-H scale factor {args.scale:g}, DuckDB {duckdb.__version__}, {os.cpu_count()} processors")
    good = True
    if "load" in args.parts:
        load(program, work, data, args.threads, max(1, args.rounds // 2))
    paths = databases(program, work, data, args.threads, args.again)
    print(f"size on disk: kodiak {size_mb(paths[0]):.0f} MB, duckdb {size_mb(paths[1]):.0f} MB, "
          f"ratio {size_mb(paths[0]) / size_mb(paths[1]):.2f}")
    if "queries" in args.parts:
        good &= queries(program, paths, args.threads, args.rounds, args.queries, args.set)
    if "memory" in args.parts:
        good &= little_memory(program, paths, args.threads, args.memory, args.queries)
    if "opening" in args.parts:
        opening(program, paths[0], args.rounds)
    if "feather" in args.parts:
        feather(paths[0])
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
