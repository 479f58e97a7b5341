//! Statements, functions and tables, and what their transactions do.

use super::{Bench, large};
use serde_json::Value;

#[test]
fn objects_are_put_read_listed_copied_tagged_and_deleted() {
    let bench = Bench::new();
    bench.sql(
        "PUT BLOB 'b' 'a/one' VALUE 'hello' CONTENT_TYPE 'text/plain' METADATA (owner = 'me') TAGS (stage = 'raw');
         PUT_BLOB 'b' 'a/two' VALUE X'00ff';
         PUT BLOB 'b' 'c' VALUE (SELECT string_agg(v, ',' ORDER BY v) FROM (VALUES ('y'), ('x')) AS t(v));",
    );
    assert_eq!(bench.sql("GET BLOB 'b' 'a/two'"), "data\n00ff\n");
    assert_eq!(bench.sql("GET_BLOB 'b' 'a/one' RANGE 1 3"), "data\n656c6c\n");
    assert_eq!(
        bench.sql("SELECT key, size, etag FROM list_blobs('b')"),
        "key,size,etag\na/one,5,5d41402abc4b2a76b9719d911017c592\na/two,2,d07d34efac6328007ad67c7e0a985e00\n\
         c,3,f10bc3c94b77e1d6b9f98106daf335c1\n"
    );
    assert_eq!(bench.sql("SELECT key, size FROM list_blobs('b', '', '/')"), "key,size\na/,\nc,3\n");
    assert_eq!(
        bench.sql(
            "SELECT bucket, key, version, content_type, metadata, tags, is_latest FROM blob.objects WHERE key = 'a/one'"
        ),
        "bucket,key,version,content_type,metadata,tags,is_latest\n\
         b,a/one,null,text/plain,\"{\"\"owner\"\":\"\"me\"\"}\",\"{\"\"stage\"\":\"\"raw\"\"}\",true\n"
    );
    bench.sql("CREATE BUCKET b2; COPY BLOB 'b' 'c' TO 'b2' 'd'; TAG BLOB 'b2' 'd' (a = '1'); DELETE BLOB 'b' 'c'; DELETE_BLOB 'b' 'c'");
    assert_eq!(
        bench.sql("SELECT bucket, key, tags FROM blob.objects WHERE bucket = 'b2'"),
        "bucket,key,tags\nb2,d,\"{\"\"a\"\":\"\"1\"\"}\"\n"
    );
    assert_eq!(
        bench.sql("SELECT name, versioning FROM blob.buckets ORDER BY name"),
        "name,versioning\nb,off\nb2,off\n"
    );
    assert!(bench.refused("GET BLOB 'b' 'c'").contains("KDK-0504"));
    assert_eq!(bench.sql("LIST BLOBS 'b' LIMIT 1 AFTER 'a/one'").lines().nth(1).map(|line| &line[..6]), Some("a/two,"));
}

#[test]
fn functions_read_and_write_in_their_statement() {
    let bench = Bench::new();
    assert_eq!(bench.sql("SELECT blob_put('b', 'k', 'abc') AS e"), "e\n900150983cd24fb0d6963f7d28e17f72\n");
    assert_eq!(
        bench.sql("SELECT blob_get('b', 'k') AS g, blob_get('b', 'k', NULL, 1, 10) AS r, blob_size('b', 'k') AS s, blob_etag('b', 'k') AS e, blob_size('b', 'no') AS n"),
        "g,r,s,e,n\n616263,6263,3,900150983cd24fb0d6963f7d28e17f72,\n"
    );
    assert_eq!(bench.sql("SELECT count(blob_put('b', 'n' || value, X'01')) AS n FROM generate_series(1, 3)"), "n\n3\n");
    assert_eq!(bench.sql("SELECT count(*) AS n FROM list_blobs('b', 'n')"), "n\n3\n");
    let refused = bench.refused("SELECT blob_get('b', 'no')");
    assert!(refused.contains("KDK-0504") && !refused.contains("panicked"), "{refused}");
    assert!(bench.refused("SELECT * FROM list_blobs('nowhere')").contains("KDK-0500"));
}

#[test]
fn versions_and_markers() {
    let bench = Bench::new();
    bench.sql("CREATE BUCKET v WITH (versioning = on); PUT BLOB 'v' 'k' VALUE 'one'; PUT BLOB 'v' 'k' VALUE 'two'; DELETE BLOB 'v' 'k'");
    let listed = "SELECT key, size, is_latest, is_delete_marker FROM list_blobs('v', '', '', true)";
    assert_eq!(
        bench.sql(listed),
        "key,size,is_latest,is_delete_marker\nk,,true,true\nk,3,false,false\nk,3,false,false\n"
    );
    assert!(bench.refused("GET BLOB 'v' 'k'").contains("KDK-0504"));
    let ids = bench.sql("SELECT version_id AS v FROM list_blobs('v', '', '', true) ORDER BY version_id");
    let ids: Vec<&str> = ids.lines().skip(1).collect();
    assert_eq!(bench.sql(&format!("GET BLOB 'v' 'k' VERSION '{}'", ids[0])), "data\n6f6e65\n");
    bench.sql(&format!("DELETE BLOB 'v' 'k' VERSION '{}'", ids[2]));
    assert_eq!(bench.sql("GET BLOB 'v' 'k'"), "data\n74776f\n");
    bench.sql("ALTER BUCKET v SET (versioning = suspended); PUT BLOB 'v' 'k' VALUE 'x'; PUT BLOB 'v' 'k' VALUE 'y'");
    assert_eq!(bench.sql("SELECT count(*) AS n FROM list_blobs('v', '', '', true)"), "n\n3\n");
    assert!(bench.refused("ALTER BUCKET v SET (versioning = off)").contains("KDK-0516"));
}

#[test]
fn refusals_have_codes_and_help() {
    let bench = Bench::new();
    bench.sql("PUT BLOB 'b' 'k' VALUE 'x'");
    for (statement, code) in [
        ("PUT BLOB 'no' 'k' VALUE 'x'", "KDK-0500"),
        ("CREATE BUCKET b", "KDK-0501"),
        ("DROP BUCKET b", "KDK-0502"),
        ("CREATE BUCKET 'Not_S3'", "KDK-0503"),
        ("PUT BLOB 'b' '' VALUE 'x'", "KDK-0506"),
        ("PUT BLOB 'b' 'k' VALUE 'y' IF NOT EXISTS", "KDK-0507"),
        ("PUT BLOB 'b' 'k' VALUE 'y' IF MATCH 'other'", "KDK-0507"),
        ("PUT BLOB 'b' 'k' FROM FILE 'not-there'", "KDK-0512"),
        ("PUT BLOB 'b' 'k' VALUE 1 + 1", "KDK-0519"),
        ("PUT BLOB 'b' 'k' VALUE NULL", "KDK-0519"),
        ("PUT BLOB 'b' 'k'", "KDK-0100"),
    ] {
        let refused = bench.refused(statement);
        assert!(refused.contains(code) && !refused.contains("panicked"), "{statement}\n{refused}");
    }
    assert_eq!(bench.sql("SELECT blob_get('b', 'k') AS g"), "g\n78\n");
    let refused = bench.sandbox.run(["--db", "db.kdb", "ext", "uninstall", "blob"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("bucket `b`"), "{refused}");
}

#[test]
fn a_rollback_leaves_nothing() {
    let bench = Bench::new();
    bench.sandbox.write("large", large(1));
    bench.sql("PUT BLOB 'b' 'kept' FROM FILE 'large'");
    bench.sql(
        "BEGIN; CREATE BUCKET gone; PUT BLOB 'gone' 'k' VALUE 'x'; PUT BLOB 'b' 'new' FROM FILE 'large';
         DELETE BLOB 'b' 'kept'; SELECT count(*) FROM list_blobs('b'); ROLLBACK",
    );
    assert_eq!(bench.sql("SELECT bucket, key FROM blob.objects"), "bucket,key\nb,kept\n");
    assert_eq!(bench.sql("SELECT name FROM blob.buckets"), "name\nb\n");
    assert_eq!(bench.files("data").len(), 2);
    assert_eq!(bench.json(&["gc"]).len(), 1);
    assert_eq!(bench.files("data").len(), 1);
    assert_eq!(bench.done(&["cat", "blob://b/kept"], b""), large(1));
}

/// Two transactions, as two processes have them.
#[test]
fn one_key_conflicts_and_others_do_not() {
    let bench = Bench::new();
    bench.sql("PUT BLOB 'b' 'old' VALUE 'x'");
    let start = || bench.sandbox.kodiak(["--db", "db.kdb", "sql", "--protocol", "jsonl"]).start();
    for (first, second, conflicts) in [
        ("PUT BLOB 'b' 'old' VALUE '1'", "PUT BLOB 'b' 'old' VALUE '2'", true),
        ("PUT BLOB 'b' 'new' VALUE '1'", "PUT BLOB 'b' 'new' VALUE '2'", true),
        ("DELETE BLOB 'b' 'old'", "TAG BLOB 'b' 'old' (a = '1')", true),
        ("PUT BLOB 'b' 'x' VALUE '1'", "PUT BLOB 'b' 'y' VALUE '2'", false),
    ] {
        let (mut one, mut two) = (start(), start());
        let ask = |session: &mut kodiak_tests::Session, sql: &str| -> Value {
            session.send(&format!("{}\n", serde_json::json!({ "sql": sql })));
            serde_json::from_str(&session.line()).expect("the answer is JSON")
        };
        for (session, statement) in [(&mut one, first), (&mut two, second)] {
            assert_eq!(ask(session, "BEGIN")["ok"], true);
            assert_eq!(ask(session, statement)["ok"], true, "{statement}");
        }
        assert_eq!(ask(&mut one, "COMMIT")["ok"], true);
        let outcome = ask(&mut two, "COMMIT");
        match conflicts {
            true => assert_eq!(outcome["error"]["sqlstate"], "40001", "{first} | {second}: {outcome}"),
            false => assert_eq!(outcome["ok"], true, "{first} | {second}: {outcome}"),
        }
        one.finish();
        two.finish();
    }
}
