//! Data that is not what it says: none of it is believed, none of it ends the process, and the extension is not even
//! quarantined for it.

use serde_json::json;

use super::{Sane, Scene};

/// Each statement meets KDK-0472 and the words; the session goes on.
fn refuses(plugin: &str, cases: &[(&str, &str)]) {
    let scene = Scene::new(&[plugin]);
    let mut talk = scene.talk();
    let name = plugin.replace('_', "-");
    for (statement, words) in cases {
        for _ in 0..2 {
            let message = talk.refused(statement, "KDK-0472");
            let start = format!("`{name}` 0.1.0 returned malformed data: ");
            assert!(message.starts_with(&start) && message.contains(words), "{statement}: {message}");
        }
    }
    talk.finish();
    scene.sql(cases[0].0).refused("KDK-0472", 1, &[cases[0].1]);
    scene.survives();
}

#[test]
fn arrays_that_arrow_would_believe_are_refused() {
    refuses(
        "bad_data",
        &[
            ("SELECT bad_utf8(name) FROM people", "text that is not UTF-8"),
            ("SELECT bad_utf8('constant')", "text that is not UTF-8"),
            ("SELECT bad_view(name) FROM people", "buffer"),
            ("SELECT bad_offsets(name) FROM people", "offsets from 8 to 0"),
            ("SELECT bad_length(name) FROM people", "expected 1 values of Utf8View, got 2"),
            ("SELECT bad_type(name) FROM people", "expected 1 values of Utf8View, got 1 of Int64"),
        ],
    );
}

#[test]
fn batches_of_table_functions_are_checked_too() {
    refuses(
        "bad_data",
        &[
            ("SELECT * FROM bad_columns()", "buffers"),
            ("SELECT * FROM bad_rows()", "text that is not UTF-8"),
            ("SELECT count(t) FROM bad_rows()", "text that is not UTF-8"),
            ("CREATE TABLE copied AS SELECT * FROM bad_rows()", "text that is not UTF-8"),
        ],
    );
}

/// Structs that no author could make with the API, written by hand.
#[test]
fn malformed_structs_are_refused() {
    refuses(
        "raw_data",
        &[
            ("SELECT raw_released('x')", "an array that was released already"),
            ("SELECT raw_no_buffers('x')", "an array that makes no sense"),
            ("SELECT raw_null_data('x')", "Int64 of 1 rows without a data buffer"),
            ("SELECT raw_too_long('x')", "expected 1 rows, found 1000000001"),
            ("SELECT raw_negative('x')", "expected 1 rows"),
            ("SELECT raw_counts('x')", "Int64 has 2 buffers, found 3"),
            ("SELECT raw_children('x')", "Int64 has 0 children, found 1"),
            ("SELECT raw_views('x')", "views without the lengths of their buffers"),
            ("SELECT raw_view_lengths('x')", "views over a buffer of -1 bytes"),
            ("SELECT raw_offsets('x')", "offsets that are not aligned"),
            ("SELECT raw_offset_order('x')", "offsets from -5 to -5"),
            ("SELECT raw_mode('x')", "a function of unknown mode 99"),
            ("SELECT raw_result('x')", "a schema that makes no sense"),
            ("SELECT raw_into('x')", "Utf8View has no fixed width"),
        ],
    );
}

#[test]
fn malformed_streams_are_refused() {
    refuses(
        "raw_data",
        &[
            ("SELECT * FROM raw_table_schema()", "a schema that makes no sense"),
            ("SELECT * FROM raw_table_released()", "a stream that was released already"),
            ("SELECT * FROM raw_table_silent()", "a stream failed with code 5"),
            ("SELECT * FROM raw_table_no_next()", "a stream without `get_next`"),
            ("SELECT * FROM raw_table_huge()", "a length of 9223372036854775807"),
            ("SELECT * FROM raw_table_nulls()", "a batch with null rows"),
        ],
    );
}

#[test]
fn a_stream_that_reports_is_quoted_and_one_that_ends_is_empty() {
    let scene = Scene::new(&["raw_data"]);
    let mut talk = scene.talk();
    let message = talk.refused("SELECT * FROM raw_table_fails()", "KDK-0480");
    assert_eq!(message, "`raw-data`: the disk is on fire");
    assert_eq!(talk.rows("SELECT * FROM raw_table_empty()"), json!([]));
    talk.finish();
}

/// A statement that wrote before it met bad data takes it back.
#[test]
fn nothing_of_a_statement_stays_that_met_bad_data() {
    let scene = Scene::new(&["bad_data"]);
    scene.sql("INSERT INTO people SELECT id + 1, bad_utf8(name) FROM people").refused("KDK-0472", 1, &["UTF-8"]);
    assert_eq!(scene.rows("SELECT count(*) AS n FROM people"), "n\n1\n");
    scene.survives();
}
