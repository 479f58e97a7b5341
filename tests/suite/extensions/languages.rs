//! Languages that extensions bring: routines and triggers are the host's objects, and stay when their language goes.

use serde_json::json;

use super::{DB, Scene};

fn speaking() -> Scene {
    let scene = Scene::new(&["speaks"]);
    scene.rows("CREATE TABLE told (what TEXT, old BIGINT, new BIGINT)");
    scene
}

#[test]
fn functions_and_procedures_are_called_in_their_language() {
    let scene = speaking();
    let mut talk = scene.talk();
    talk.rows("CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT LANGUAGE words AS $$ double $$");
    talk.rows("CREATE FUNCTION thrice(n BIGINT) RETURNS BIGINT LANGUAGE words AS 'inline n * 3'");
    talk.rows("CREATE FUNCTION people() RETURNS BIGINT LANGUAGE words AS 'count people'");
    talk.rows("CREATE PROCEDURE hire() LANGUAGE words AS $$run INSERT INTO people VALUES (2, 'Bob')$$");
    talk.rows("CREATE PROCEDURE who() LANGUAGE words AS $$run SELECT name FROM people ORDER BY id$$");
    talk.rows("CREATE FUNCTION all_of() RETURNS TABLE(n BIGINT) LANGUAGE words AS $$run SELECT id FROM people$$");
    assert_eq!(
        talk.rows("SELECT twice(value), thrice(value) FROM generate_series(1, 2) ORDER BY 1"),
        json!([[2, 3], [4, 6]])
    );
    assert_eq!(
        talk.rows("SELECT name, inlined FROM kodiak.routines WHERE name LIKE 't%' ORDER BY 1"),
        json!([["thrice", true], ["twice", false]])
    );
    // Calls happen in the transaction of the statement.
    talk.rows("BEGIN");
    talk.rows("CALL hire()");
    assert_eq!(talk.rows("CALL who()"), json!([["Ada"], ["Bob"]]));
    assert_eq!(talk.rows("SELECT people()"), json!([[2]]));
    assert_eq!(talk.rows("SELECT sum(n) FROM all_of()"), json!([[3]]));
    talk.rows("ROLLBACK");
    assert_eq!(talk.rows("CALL who()"), json!([["Ada"]]));
    talk.rows("DO LANGUAGE words $$run INSERT INTO people VALUES (3, 'Cid')$$");
    assert_eq!(talk.rows("SELECT count(*) FROM people"), json!([[2]]));
    talk.rows("DELETE FROM people WHERE id = 3");
    // What a language refuses has its own code, and names the routine.
    let message = talk.refused("CREATE FUNCTION f() RETURNS BIGINT LANGUAGE words AS 'dubble'", "WORDS-1");
    assert!(message.contains("no word `dubble`"), "{message}");
    talk.rows("CREATE FUNCTION fails() RETURNS BIGINT LANGUAGE words AS 'fail on purpose'");
    assert!(talk.refused("SELECT fails()", "WORDS-2").contains("on purpose"));
    talk.rows("CREATE FUNCTION wrong() RETURNS BIGINT LANGUAGE words AS 'wrong'");
    talk.refused("SELECT wrong()", "KDK-0472");
    talk.finish();
    scene.survives();
}

#[test]
fn a_panic_in_a_body_is_an_error_of_the_statement() {
    let scene = speaking();
    let mut talk = scene.talk();
    talk.rows("CREATE FUNCTION boom() RETURNS BIGINT LANGUAGE words AS 'panic now'");
    talk.refused("SELECT boom()", "KDK-0470");
    talk.refused("SELECT boom()", "KDK-0471");
    talk.finish();
    scene.survives();
}

#[test]
fn triggers_are_fired_in_their_language() {
    let scene = speaking();
    let mut talk = scene.talk();
    talk.rows("CREATE TABLE guest (id BIGINT PRIMARY KEY, name TEXT)");
    for word in ["upper", "skip", "tell"] {
        talk.rows(&format!("CREATE FUNCTION {word}_it() RETURNS TRIGGER LANGUAGE words AS '{word}'"));
    }
    talk.rows("CREATE TRIGGER a BEFORE INSERT ON guest FOR EACH ROW EXECUTE FUNCTION skip_it('mallory', 'eve')");
    talk.rows("CREATE TRIGGER b BEFORE INSERT OR UPDATE ON guest FOR EACH ROW EXECUTE FUNCTION upper_it");
    talk.rows(
        "CREATE TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON guest FOR EACH STATEMENT EXECUTE FUNCTION tell_it()",
    );
    talk.rows("INSERT INTO guest VALUES (1, 'ann'), (2, 'eve'), (3, 'cid')");
    talk.rows("UPDATE guest SET name = name || '!' WHERE id = 3");
    talk.rows("DELETE FROM guest WHERE id = 1");
    assert_eq!(talk.rows("SELECT * FROM guest"), json!([[3, "CID!"]]));
    let told = json!([
        ["after statement insert guest", 0, 2],
        ["after statement update guest", 1, 1],
        ["after statement delete guest", 1, 0],
    ]);
    assert_eq!(talk.rows("SELECT * FROM told"), told);
    talk.finish();
}

#[test]
fn a_table_with_a_dormant_trigger_is_read_and_not_written() {
    let scene = speaking();
    let mut talk = scene.talk();
    talk.rows("CREATE FUNCTION tell_it() RETURNS TRIGGER LANGUAGE words AS 'tell'");
    talk.rows("CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT LANGUAGE words AS 'double'");
    talk.rows("CREATE TRIGGER watch AFTER INSERT ON people EXECUTE FUNCTION tell_it()");
    talk.finish();
    // Uninstalled where nobody asks this database.
    assert_eq!(scene.run(["ext", "uninstall", "speaks"]).code, Some(0));
    let mut talk = scene.talk();
    let message = talk.refused("INSERT INTO people VALUES (2, 'Bob')", "KDK-0415");
    assert!(message.contains("`speaks`"), "{message}");
    let message = talk.refused("SELECT twice(1)", "KDK-0415");
    assert!(message.contains("`speaks`"), "{message}");
    assert_eq!(talk.rows("SELECT name FROM people"), json!([["Ada"]]));
    // It has no trigger for this.
    talk.rows("UPDATE people SET name = 'Ada'");
    let objects =
        "SELECT kind, name, state FROM kodiak.extension_objects WHERE extension = 'speaks' ORDER BY kind, name";
    let dormant = json!([
        ["function", "tell_it", "dormant"],
        ["function", "twice", "dormant"],
        ["trigger", "watch on people", "dormant"],
    ]);
    assert_eq!(talk.rows(objects), dormant);
    talk.finish();
    scene.install(&[], &["speaks"]);
    let mut talk = scene.talk();
    talk.rows("INSERT INTO people VALUES (2, 'Bob')");
    assert_eq!(talk.rows("SELECT twice(id) FROM people ORDER BY id"), json!([[2], [4]]));
    talk.rows("DELETE FROM people WHERE id = 2");
    talk.finish();
    scene.survives();
}

#[test]
fn uninstalling_names_routines_and_takes_them_when_asked() {
    let scene = Scene::new(&[]);
    scene.install(&["--db", DB], &["speaks"]);
    let mut talk = scene.talk();
    talk.rows("CREATE TABLE told (what TEXT, old BIGINT, new BIGINT)");
    talk.rows("CREATE FUNCTION tell_it() RETURNS TRIGGER LANGUAGE words AS 'tell'");
    talk.rows("CREATE TRIGGER watch AFTER INSERT ON people EXECUTE FUNCTION tell_it()");
    talk.finish();
    let refused = scene.run(["--db", DB, "ext", "uninstall", "speaks"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("tell_it") && refused.stderr.contains("watch on people"), "{refused}");
    assert_eq!(scene.run(["--db", DB, "ext", "uninstall", "speaks", "--cascade"]).code, Some(0));
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT count(*) FROM kodiak.routines"), json!([[0]]));
    talk.rows("INSERT INTO people VALUES (2, 'Bob'); DELETE FROM people WHERE id = 2");
    talk.finish();
    scene.survives();
}
