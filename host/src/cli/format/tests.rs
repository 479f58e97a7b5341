//! Bytes of the formats, as RFC 4180, RFC 8259 and the conventions of PostgreSQL and DuckDB want them.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, IntervalMonthDayNano, Schema, i256};
use insta::assert_snapshot;

use super::{Format, Screen, batch_of, bytes_of};

fn text_of(format: Format, batches: &[RecordBatch]) -> String {
    String::from_utf8(bytes_of(format, batches)).unwrap()
}

fn every_type() -> RecordBatch {
    let micros = 1_767_960_000_500_000_i64;
    let decimal = Decimal128Array::from(vec![Some(99_999_999_999_999_999_999_999_999_999_999_999_999), None]);
    batch_of(vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("f", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("d", Arc::new(decimal.with_precision_and_scale(38, 2).unwrap())),
        ("s", Arc::new(StringViewArray::from(vec![Some("ä"), None]))),
        ("x", Arc::new(BinaryViewArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_462), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(43_200_500_000), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(micros), None]))),
        ("tz", Arc::new(TimestampMicrosecondArray::from(vec![Some(micros), None]).with_timezone("UTC"))),
        (
            "iv",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano::new(14, 3, 14_706_000_000_000)),
                None,
            ])),
        ),
        ("dur", Arc::new(DurationMillisecondArray::from(vec![Some(90_061_000), None]))),
        ("n", Arc::new(NullArray::new(2))),
    ])
}

#[test]
fn csv_values_read_as_in_postgresql() {
    assert_snapshot!(text_of(Format::Csv, &[every_type()]), @r"
    b,i,u,f,d,s,x,day,time,ts,tz,iv,dur,n
    true,-9223372036854775808,18446744073709551615,0.1,999999999999999999999999999999999999.99,ä,00ff,2026-01-09,12:00:00.5,2026-01-09 12:00:00.5,2026-01-09 12:00:00.5+00,1 year 2 months 3 days 04:05:06,1 day 01:01:01,
    ,,,,,,,,,,,,,
    ");
}

#[test]
fn json_values_are_exact() {
    assert_snapshot!(text_of(Format::Jsonl, &[every_type()]), @r#"
    {"b":true,"i":-9223372036854775808,"u":18446744073709551615,"f":0.1,"d":999999999999999999999999999999999999.99,"s":"ä","x":"00ff","day":"2026-01-09","time":"12:00:00.5","ts":"2026-01-09 12:00:00.5","tz":"2026-01-09T12:00:00.500Z","iv":"1 year 2 months 3 days 04:05:06","dur":"1 day 01:01:01","n":null}
    {"b":null,"i":null,"u":null,"f":null,"d":null,"s":null,"x":null,"day":null,"time":null,"ts":null,"tz":null,"iv":null,"dur":null,"n":null}
    "#);
}

#[test]
fn zones_other_than_utc_keep_their_offset() {
    let array = TimestampSecondArray::from(vec![0]);
    let batch = batch_of(vec![
        ("a", Arc::new(array.clone().with_timezone("+05:30"))),
        ("b", Arc::new(array.clone().with_timezone("+02:00"))),
        ("c", Arc::new(array.with_timezone("-03:00"))),
    ]);
    assert_eq!(
        text_of(Format::Csv, std::slice::from_ref(&batch)).lines().nth(1).unwrap(),
        "1970-01-01 05:30:00+05:30,1970-01-01 02:00:00+02,1969-12-31 21:00:00-03"
    );
    assert_eq!(
        text_of(Format::Jsonl, &[batch]).trim_end(),
        r#"{"a":"1970-01-01T05:30:00+05:30","b":"1970-01-01T02:00:00+02:00","c":"1969-12-31T21:00:00-03:00"}"#
    );
}

/// The fields of RFC 4180, section 2, and the two kinds of nothing.
#[test]
fn csv_quotes_what_would_be_misread() {
    let texts =
        vec![Some("aaa"), Some("b \r\nbb"), Some("b\"bb"), Some("x,y"), Some(" "), Some("\ttab"), Some(""), None];
    let batch = batch_of(vec![
        ("a,b", Arc::new(StringViewArray::from(texts.clone()))),
        ("k", Arc::new(StringArray::from(texts.clone()))),
        ("l", Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>())),
    ]);
    let row = |field: &str| format!("{field},{field},{field}\n");
    let expected: String =
        ["aaa", "\"b \r\nbb\"", "\"b\"\"bb\"", "\"x,y\"", " ", "\ttab", "\"\"", ""].map(row).concat();
    assert_eq!(text_of(Format::Csv, std::slice::from_ref(&batch)), format!("\"a,b\",k,l\n{expected}"));
    let tabs = text_of(Format::Tsv, &[batch]);
    assert!(tabs.starts_with("a,b\tk\tl\naaa\taaa\taaa\n"), "{tabs}");
    assert!(tabs.contains("x,y\tx,y") && tabs.contains("\"\ttab\"\t\"\ttab\""), "{tabs}");
}

#[test]
fn json_escapes_and_keeps_what_has_no_notation() {
    let batch = batch_of(vec![
        ("say \"x\"", Arc::new(StringArray::from(vec!["q\"\\\n\u{1}", "日本", ""]))),
        ("f", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 1e300]))),
        ("g", Arc::new(Float32Array::from(vec![0.1, -0.0, f32::INFINITY]))),
    ]);
    assert_snapshot!(text_of(Format::Json, &[batch]), @r#"
    [{"say \"x\"":"q\"\\\n\u0001","f":"NaN","g":0.1},
    {"say \"x\"":"日本","f":"-Infinity","g":-0.0},
    {"say \"x\"":"","f":1e300,"g":"Infinity"}]
    "#);
}

#[test]
fn json_of_no_rows_is_an_empty_array_and_batches_join() {
    let empty = batch_of(vec![("a", Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    let one = batch_of(vec![("a", Arc::new(Int64Array::from(vec![1])))]);
    assert_eq!(text_of(Format::Json, std::slice::from_ref(&empty)), "[]\n");
    assert_eq!(text_of(Format::Json, &[one.clone(), empty.clone(), one.clone()]), "[{\"a\":1},\n{\"a\":1}]\n");
    assert_eq!(text_of(Format::Jsonl, std::slice::from_ref(&empty)), "");
    assert_eq!(text_of(Format::Csv, std::slice::from_ref(&empty)), "a\n");
}

fn nested() -> RecordBatch {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![]), None]);
    let fields = Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let x: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let y: ArrayRef = Arc::new(StringArray::from(vec![Some("p"), Some("q"), None]));
    let structs = StructArray::new(fields, vec![x, y], Some(vec![true, true, false].into()));
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)]);
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let maps = MapArray::new(
        Arc::new(Field::new("entries", DataType::Struct(entries.clone()), false)),
        OffsetBuffer::new(vec![0, 2, 2, 2].into()),
        StructArray::new(entries, vec![keys, values], None),
        Some(vec![true, true, false].into()),
        false,
    );
    batch_of(vec![("l", Arc::new(lists)), ("s", Arc::new(structs)), ("m", Arc::new(maps))])
}

#[test]
fn nested_values_are_json_in_json_and_one_field_in_csv() {
    assert_snapshot!(text_of(Format::Jsonl, &[nested()]), @r#"
    {"l":[1,null],"s":{"x":1,"y":"p"},"m":{"a":1,"b":null}}
    {"l":[],"s":{"x":null,"y":"q"},"m":{}}
    {"l":null,"s":null,"m":null}
    "#);
    assert_snapshot!(text_of(Format::Csv, &[nested()]), @r#"
    l,s,m
    "[1, NULL]","{x: 1, y: p}","{a: 1, b: NULL}"
    [],"{x: NULL, y: q}",{}
    ,,
    "#);
}

#[test]
fn uuids_have_hyphens() {
    let bytes = [0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0x00, 0x00];
    let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap());
    let mark = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into();
    let field = Field::new("u", DataType::FixedSizeBinary(16), true).with_metadata(mark);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    assert_eq!(text_of(Format::Csv, std::slice::from_ref(&batch)), "u\n550e8400-e29b-41d4-a716-446655440000\n");
    assert_eq!(text_of(Format::Jsonl, &[batch]), "{\"u\":\"550e8400-e29b-41d4-a716-446655440000\"}\n");
}

#[test]
fn wide_decimals_are_exact() {
    let array = Decimal256Array::from(vec![i256::from_i128(-5)]).with_precision_and_scale(76, 3).unwrap();
    assert_eq!(text_of(Format::Jsonl, &[batch_of(vec![("d", Arc::new(array))])]), "{\"d\":-0.005}\n");
}

fn table(screen: Screen, batches: &[RecordBatch]) -> String {
    let (mut sink, mut out) = (Format::Table.sink(screen), Vec::new());
    sink.start(&batches[0].schema(), &mut out).unwrap();
    batches.iter().for_each(|batch| sink.batch(batch, &mut out).unwrap());
    sink.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const PIPE: Screen = Screen { width: None, rows_max: 6, colour: false };

#[test]
fn tables_align_numbers_mark_null_and_survive_hostile_text() {
    let batch = batch_of(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), Some(1000), None]))),
        ("name", Arc::new(StringArray::from(vec![Some("日本"), Some("two\nlines\r\x1b[2J\n"), None]))),
    ]);
    assert_snapshot!(table(PIPE, &[batch]), @r"
    ┌──────┬──────────────────┐
    │   id ┆ name             │
    ╞══════╪══════════════════╡
    │    1 ┆ 日本             │
    │ 1000 ┆ two              │
    │      ┆ lines\r\u{1b}[2J │
    │ NULL ┆ NULL             │
    └──────┴──────────────────┘
    ");
}

#[test]
fn long_tables_are_cut_in_the_middle_with_a_count() {
    let batches: Vec<RecordBatch> = (0..100_i64)
        .map(|n| batch_of(vec![("n", Arc::new(Int64Array::from_iter_values(n * 10..n * 10 + 10)))]))
        .collect();
    assert_snapshot!(table(PIPE, &batches), @r"
    ┌─────┐
    │   n │
    ╞═════╡
    │   0 │
    │   1 │
    │   2 │
    │   … │
    │ 997 │
    │ 998 │
    │ 999 │
    └─────┘
    1000 rows (6 shown)
    ");
    let six = batch_of(vec![("n", Arc::new(Int64Array::from_iter_values(0..6)))]);
    assert!(!table(PIPE, &[six]).contains('…'));
}

#[test]
fn tables_fit_the_terminal() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["word ".repeat(100)]));
    let narrow = Screen { width: Some(40), ..PIPE };
    let wide = batch_of(vec![("a", text.clone()), ("b", text.clone())]);
    let many = batch_of((0..50).map(|_| ("column", text.clone())).collect());
    for batch in [wide, many.clone()] {
        let longest = table(narrow, &[batch]).lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 40, "{longest}");
    }
    assert!(table(narrow, &[many]).ends_with("50 columns (3 shown)\n"));
}

#[test]
fn on_a_terminal_a_row_of_a_long_result_is_one_line() {
    let texts = |rows: usize| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        batch_of(vec![("id", ids), ("text", Arc::new(StringArray::from(vec!["some words ".repeat(4); rows])))])
    };
    let screen = Screen { width: Some(30), rows_max: 40, colour: false };
    assert_snapshot!(table(screen, &[texts(6)]), @"
    ┌────┬───────────────────────┐
    │ id ┆ text                  │
    ╞════╪═══════════════════════╡
    │  0 ┆ some words some word… │
    │  1 ┆ some words some word… │
    │  2 ┆ some words some word… │
    │  3 ┆ some words some word… │
    │  4 ┆ some words some word… │
    │  5 ┆ some words some word… │
    └────┴───────────────────────┘
    ");
    assert!(table(screen, &[texts(5)]).lines().count() > 9);
    assert_eq!(table(PIPE, &[texts(6)]).matches(&"some words ".repeat(4)).count(), 6);
}

#[test]
fn markdown_escapes_bars_and_breaks() {
    let batch = batch_of(vec![
        ("a|b", Arc::new(StringArray::from(vec![Some("x|y\nz"), None]))),
        ("n", Arc::new(Int64Array::from(vec![1, 2]))),
    ]);
    assert_snapshot!(text_of(Format::Markdown, &[batch]), @r"
    | a\|b | n |
    | --- | ---: |
    | x\|y<br>z | 1 |
    | NULL | 2 |
    ");
}

#[test]
fn an_arrow_stream_holds_the_batches() {
    let batch = nested();
    let bytes = bytes_of(Format::Arrow, &[batch.clone(), batch.clone()]);
    let read: Vec<_> =
        arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [batch.clone(), batch]);
}
