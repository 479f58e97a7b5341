//! The settings of a session: their names, what they mean, and how a value is read. It knows no statement; `SET`,
//! `RESET`, `SHOW` and `kodiak.settings` all read this one table.

use std::time::Duration;

use super::nearest::nearest;
use crate::catalog::MAIN;
use crate::error::{Error, Result, codes};

/// The values of a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Threads of one statement.
    pub(crate) threads: usize,
    /// Bytes that the statements of this database may hold at a time.
    pub(crate) memory_bytes_max: u64,
    /// When a statement is ended; never, if none.
    pub(crate) statement_timeout: Option<Duration>,
    /// The schema that unqualified names mean.
    pub(crate) schema: String,
    /// Rows of a batch.
    pub(crate) batch_rows: usize,
    /// The branch that statements see and change; empty for the one on which sessions of the database begin.
    pub(crate) branch: String,
}

/// A setting as users see it.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    show: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Option<()>,
}

/// Every setting, by name.
pub(crate) const ALL: &[Setting] = &[
    Setting {
        name: "batch_size",
        meaning: "rows that operators hand on at a time",
        show: |settings| settings.batch_rows.to_string(),
        set: |settings, text| {
            settings.batch_rows = text.parse().ok().filter(|rows| (1..=1 << 20).contains(rows))?;
            Some(())
        },
    },
    Setting {
        name: "branch",
        meaning: "the branch that statements see and change; empty is the one on which sessions begin",
        show: |settings| settings.branch.clone(),
        set: |settings, text| {
            text.clone_into(&mut settings.branch);
            Some(())
        },
    },
    Setting {
        name: "cache_size",
        meaning: "results that are kept; none are, so that it can only be 0",
        show: |_| "0".to_owned(),
        set: |_, text| (text == "0").then_some(()),
    },
    Setting {
        name: "memory_limit",
        meaning: "memory that the statements of this database may hold at a time, such as '2GB'",
        show: |settings| show_bytes(settings.memory_bytes_max),
        set: |settings, text| {
            settings.memory_bytes_max = read_bytes(text).filter(|bytes| *bytes > 0)?;
            Some(())
        },
    },
    Setting {
        name: "search_path",
        meaning: "the schema that unqualified names mean",
        show: |settings| settings.schema.clone(),
        set: |settings, text| {
            settings.schema = Some(text.to_owned()).filter(|name| !name.is_empty())?;
            Some(())
        },
    },
    Setting {
        name: "statement_timeout",
        meaning: "when a statement is ended, such as '2s'; 0 is never",
        show: |settings| {
            settings.statement_timeout.map_or_else(|| "0".to_owned(), |limit| format!("{}ms", limit.as_millis()))
        },
        set: |settings, text| {
            let limit = read_duration(text)?;
            settings.statement_timeout = (!limit.is_zero()).then_some(limit);
            Some(())
        },
    },
    Setting {
        name: "threads",
        meaning: "threads that work on one statement",
        show: |settings| settings.threads.to_string(),
        set: |settings, text| {
            settings.threads = text.parse().ok().filter(|threads| (1..=1024).contains(threads))?;
            Some(())
        },
    },
];

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes_max: memory_bytes_default(),
            statement_timeout: None,
            schema: MAIN.to_owned(),
            batch_rows: 8192,
            branch: String::new(),
        }
    }
}

impl Settings {
    /// A setting's value as text.
    pub(crate) fn show(&self, name: &str) -> Result<String> {
        find(name).map(|setting| (setting.show)(self))
    }

    /// Changes a setting; `None` sets it back.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let setting = find(name)?;
        let value = value.map_or_else(|| (setting.show)(&Self::default()), str::to_owned);
        (setting.set)(self, value.trim()).ok_or_else(|| {
            Error::new(codes::SETTING, format!("`{value}` does not fit the setting `{}`", setting.name))
                .detail(setting.meaning)
        })
    }
}

fn find(name: &str) -> Result<&'static Setting> {
    let name = if name == "schema" { "search_path" } else { name };
    ALL.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let error = Error::new(codes::SETTING, format!("no setting `{name}`"));
        match nearest(name, ALL.iter().map(|setting| setting.name)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("SELECT * FROM kodiak.settings lists all settings"),
        }
    })
}

/// Four fifths of the machine's memory, as DuckDB takes; where that cannot be known, 4 GB.
fn memory_bytes_default() -> u64 {
    let information = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = information
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let limit =
        std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let machine = total.map_or(5 << 30, |kilobytes| kilobytes << 10);
    limit.map_or(machine, |limit| limit.min(machine)) / 5 * 4
}

fn read_bytes(text: &str) -> Option<u64> {
    const UNITS: &[(&str, u64)] = &[
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("k", 1_000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
        ("b", 1),
        ("", 1),
    ];
    scaled(text, UNITS)
}

fn show_bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let exact = units.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    exact.map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

fn read_duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, u64)] =
        &[("ms", 1), ("min", 60_000), ("s", 1_000), ("h", 3_600_000), ("d", 86_400_000), ("", 1)];
    scaled(text, UNITS).map(Duration::from_millis)
}

/// A number, which may have a fraction, and one of the units.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let unit = text[digits..].trim();
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    match text[..digits].parse::<u64>() {
        Ok(number) => number.checked_mul(*size),
        Err(_) => {
            let number = text[..digits].parse::<f64>().ok()? * *size as f64;
            (number.is_finite() && number >= 0.0 && number < u64::MAX as f64).then_some(number as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units() {
        let mut settings = Settings::default();
        settings.set("statement_timeout", Some("1.5s")).expect("set");
        assert_eq!(settings.statement_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(settings.show("statement_timeout").expect("shown"), "1500ms");
        settings.set("statement_timeout", Some("0")).expect("set");
        assert_eq!(settings.statement_timeout, None);
        settings.set("memory_limit", Some("2GB")).expect("set");
        assert_eq!(settings.memory_bytes_max, 2_000_000_000);
        assert_eq!(settings.show("memory_limit").expect("shown"), "2GB");
    }

    #[test]
    fn every_setting_takes_the_value_that_it_shows() {
        for setting in ALL {
            let mut settings = Settings::default();
            let shown = settings.show(setting.name).expect("shown");
            settings.set(setting.name, Some(&shown)).expect(setting.name);
            assert_eq!(settings, Settings::default());
        }
    }

    #[test]
    fn wrong_names_and_values_are_refused() {
        let mut settings = Settings::default();
        assert_eq!(
            settings.set("thread", Some("1")).expect_err("unknown").help_text(),
            Some("did you mean `threads`?")
        );
        for (name, value) in
            [("threads", "0"), ("cache_size", "1"), ("memory_limit", "-1"), ("statement_timeout", "2 weeks")]
        {
            assert!(settings.set(name, Some(value)).expect_err(value).is(codes::SETTING));
        }
    }
}
