//! `kodiak sql --protocol jsonl`: a session for programs, one request and one flushed answer a line. It refuses to end
//! because of an error: only the end of input does that.

use std::io::{BufRead, ErrorKind};
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::format::{JsonRows, sql_name};
use super::interrupt::Interrupt;
use crate::database::{Connection, Outcome};
use crate::error::{Error, Result, codes};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// May hold several statements; the answer is the last one's.
    sql: String,
}

/// Answers every line of `input`.
///
/// # Errors
/// If the input cannot be read.
pub(super) fn serve(
    context: &Context,
    connection: &Connection,
    interrupt: &Interrupt,
    mut input: impl BufRead,
) -> Result<Exit> {
    let mut line = Vec::new();
    while !context.ui.is_closed() {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if line.trim_ascii().is_empty() => {}
            Ok(_) => {
                let mut answer = interrupt.during(|| answer(connection, &line)).unwrap_or_else(|error| refusal(&error));
                answer.push(b'\n');
                context.ui.data(&answer);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", Path::new("stdin"), &error)),
        }
    }
    Ok(Exit::Done)
}

/// The whole answer is made before a byte of it is written, because an error in the last row makes it another one.
fn answer(connection: &Connection, line: &[u8]) -> Result<Vec<u8>> {
    let started = Instant::now();
    let request: Request = serde_json::from_slice(line).map_err(|error| {
        // What the reader quotes may be a part of a statement that no message repeats.
        let reason = match connection.is_sensitive(&String::from_utf8_lossy(line)) {
            true => format!("it goes wrong at column {}", error.column()),
            false => error.to_string(),
        };
        Error::new(codes::USAGE, format!("the request is not understood: {reason}")).help(r#"{"sql": "SELECT 1"}"#)
    })?;
    let (mut head, mut rows) = (json!({"ok": true, "columns": [], "types": []}), Vec::new());
    let mut affected = None;
    for outcome in connection.script(&request.sql, "sql") {
        let Outcome { affected: count, rows: result, .. } = outcome?;
        (affected, head["columns"], head["types"]) = (count, json!([]), json!([]));
        rows.clear();
        if let Some(result) = result {
            let schema = result.schema();
            head["columns"] = schema.fields().iter().map(|field| field.name().as_str()).collect();
            head["types"] = schema.fields().iter().map(|field| sql_name(field)).collect();
            let mut json = JsonRows::new();
            result.into_iter().try_for_each(|batch| json.batch(&batch?, &mut rows))?;
        }
    }
    let ms = (started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let mut line =
        format!("{{\"ok\":true,\"columns\":{},\"types\":{},\"rows\":[", head["columns"], head["types"]).into_bytes();
    line.append(&mut rows);
    line.extend_from_slice(format!("],\"affected\":{},\"ms\":{ms}}}", json!(affected)).as_bytes());
    Ok(line)
}

fn refusal(error: &Error) -> Vec<u8> {
    let mut object = json!({"code": error.code(), "sqlstate": error.sqlstate(), "message": error.message()});
    if let Some(place) = error.place() {
        (object["line"], object["column"]) = (place.line.into(), place.column.into());
    }
    if let Some(help) = error.help_text() {
        object["help"] = help.into();
    }
    json!({"ok": false, "error": object}).to_string().into_bytes()
}
