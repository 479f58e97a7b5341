//! The `.commands`: what a session can do that is not SQL.

use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{Next, Repl, chart};
use crate::error::{Error, Result, codes};

/// Name, arguments, what it does.
const COMMANDS: &[(&str, &str, &str)] = &[
    (".chart", "[bar|line] [QUERY]", "draw a query's numbers, or those of the last query"),
    (".format", "[NAME]", "how results look: table, csv, tsv, json, jsonl, markdown"),
    (".help", "", "show this"),
    (".quit", "", "end the session; so do `exit` and Ctrl-D"),
    (".read", "FILE", "run the statements of a file"),
    (".schema", "[NAME]", "the statements that make a table or view, or all of them"),
    (".tables", "[PART]", "tables and views, those with PART in their names"),
    (".timer", "[on|off]", "tell how long each statement took"),
];

/// Names of the commands, for completion.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _, _)| *name)
}

impl Repl<'_> {
    /// Runs a command, a line that begins with a dot.
    ///
    /// # Errors
    /// When there is no such command, or it fails.
    pub fn command(&mut self, line: &str) -> Result<Next> {
        let line = line.trim().trim_end_matches(';');
        let (name, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(name, rest)| (name, rest.trim()));
        match name {
            ".quit" | ".exit" => return Ok(Next::Quit),
            ".help" => self.help(),
            ".tables" => self.tables(rest)?,
            ".schema" => self.schema(rest)?,
            ".timer" => self.set_timer(rest)?,
            ".format" if rest.is_empty() => self.screen.say(&self.screen.format()),
            ".format" => self.screen.set_format(rest)?,
            ".read" => self.read(rest)?,
            ".chart" => self.chart(rest)?,
            other => {
                let error = Error::new(codes::SYNTAX, format!("no command `{other}`"));
                let near = names().map(|known| (strsim::jaro_winkler(other, known), known));
                let near = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
                return Err(match near {
                    Some((_, near)) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(".help"),
                });
            }
        }
        Ok(Next::Continue)
    }

    fn help(&self) {
        let width = COMMANDS.iter().map(|(name, arguments, _)| name.len() + arguments.len() + 1).max().unwrap_or(0);
        for (name, arguments, meaning) in COMMANDS {
            self.screen.say(&format!("{:<width$}  {meaning}", format!("{name} {arguments}")));
        }
        self.screen.say("");
        self.screen.say("A statement ends with `;` and may have several lines. Tab completes, Ctrl-C cancels.");
    }

    fn tables(&self, part: &str) -> Result<()> {
        let part = part.trim_matches('%').to_lowercase();
        let sql =
            "SELECT schema, name FROM kodiak.tables UNION ALL SELECT schema, name FROM kodiak.views ORDER BY 1, 2";
        for row in texts(self.query(sql)?.collect_batches()?, 2)? {
            let name = if row[0] == crate::catalog::MAIN { row[1].clone() } else { format!("{}.{}", row[0], row[1]) };
            if name.to_lowercase().contains(&part) {
                self.screen.say(&name);
            }
        }
        Ok(())
    }

    fn schema(&self, wanted: &str) -> Result<()> {
        let wanted = wanted.trim_matches('"').to_lowercase();
        let mut found = false;
        let is_wanted = |schema: &str, name: &str| {
            wanted.is_empty() || wanted == name.to_lowercase() || wanted == format!("{schema}.{name}").to_lowercase()
        };
        let tables = self.query("SELECT schema, name FROM kodiak.tables ORDER BY 1, 2")?.collect_batches()?;
        for table in texts(tables, 2)?.iter().filter(|table| is_wanted(&table[0], &table[1])) {
            found = true;
            self.table(&table[0], &table[1])?;
        }
        let views = self.query("SELECT schema, name, sql FROM kodiak.views ORDER BY 1, 2")?.collect_batches()?;
        for view in texts(views, 3)?.iter().filter(|view| is_wanted(&view[0], &view[1])) {
            found = true;
            self.screen.say(&format!("CREATE VIEW {} AS {};", label(&view[0], &view[1]), view[2]));
        }
        if found || wanted.is_empty() {
            return Ok(());
        }
        Err(Error::new(codes::NO_TABLE, format!("no table or view `{wanted}`")).help(".tables"))
    }

    fn table(&self, schema: &str, name: &str) -> Result<()> {
        let of = format!("schema = {} AND \"table\" = {}", literal(schema), literal(name));
        let columns = format!(
            "SELECT name, type || CASE WHEN nullable THEN '' ELSE ' NOT NULL' END || \
             coalesce(' DEFAULT ' || \"default\", '') FROM kodiak.columns WHERE {of} ORDER BY position"
        );
        let mut lines: Vec<String> = texts(self.query(&columns)?.collect_batches()?, 2)?
            .into_iter()
            .map(|row| format!("  {} {}", quoted(&row[0]), row[1]))
            .collect();
        let constraints = format!("SELECT definition FROM kodiak.constraints WHERE {of}");
        let constraints = texts(self.query(&constraints)?.collect_batches()?, 1)?;
        lines.extend(constraints.into_iter().map(|row| format!("  {}", row[0])));
        self.screen.say(&format!("CREATE TABLE {} (\n{}\n);", label(schema, name), lines.join(",\n")));
        Ok(())
    }

    fn set_timer(&mut self, value: &str) -> Result<()> {
        self.timer = match value {
            "" => !self.timer,
            "on" => true,
            "off" => false,
            other => return Err(Error::new(codes::SYNTAX, format!("`{other}` is neither on nor off"))),
        };
        self.screen.note(if self.timer { "timer on" } else { "timer off" });
        Ok(())
    }

    fn read(&mut self, file: &str) -> Result<()> {
        let file = file.trim_matches(['\'', '"']);
        if file.is_empty() {
            return Err(Error::new(codes::SYNTAX, "expected a file").help(".read load.sql"));
        }
        let path = Path::new(file);
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
        self.statements(&text, file)
    }

    fn chart(&mut self, rest: &str) -> Result<()> {
        let (kind, query) = match rest.split_once(char::is_whitespace).unwrap_or((rest, "")) {
            ("bar", query) => (chart::Kind::Bar, query),
            ("line", query) => (chart::Kind::Line, query),
            _ => (chart::Kind::Bar, rest),
        };
        let query = match (query.trim(), &self.last_query) {
            ("", None) => {
                let error = Error::new(codes::SYNTAX, "there is no result to draw yet");
                return Err(error.help(".chart bar SELECT name, amount FROM sales"));
            }
            ("", Some(last)) => last.clone(),
            (query, _) => query.to_owned(),
        };
        let mut drawn = String::new();
        self.screen.during(&mut || {
            let batches = self.query(&query)?.collect_batches()?;
            drawn = chart::draw(&batches, kind, self.screen.width())?;
            Ok(())
        })?;
        self.last_query = Some(query);
        drawn.lines().for_each(|line| self.screen.say(line));
        Ok(())
    }
}

/// The first columns of a result as text.
pub(super) fn texts(batches: Vec<RecordBatch>, columns: usize) -> Result<Vec<Vec<String>>> {
    use arrow::array::AsArray;
    let mut rows = Vec::new();
    for batch in batches {
        let cast = |column: usize| {
            cast(batch.column(column), &DataType::Utf8View)
                .map_err(|error| Error::new(codes::INTERNAL, format!("a name is no text: {error}")))
        };
        let arrays = (0..columns).map(cast).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let text = |array: &arrow::array::ArrayRef| match array.is_null(row) {
                true => String::new(),
                false => array.as_string_view().value(row).to_owned(),
            };
            rows.push(arrays.iter().map(text).collect());
        }
    }
    Ok(rows)
}

fn label(schema: &str, name: &str) -> String {
    if schema == crate::catalog::MAIN { quoted(name) } else { format!("{}.{}", quoted(schema), quoted(name)) }
}

/// A name as it has to be written.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
