//! The text of intervals and durations, `1 year 2 months 3 days 04:05:06`, as DuckDB writes them and PostgreSQL reads
//! them. Arrow's own text (`1 mons`, `0.000000003 secs`, `P3DT4S`) is neither, so it cannot be used here.

use std::fmt::{Result, Write};

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const NANOS_PER_DAY: i128 = 86_400 * 1_000_000_000;

/// Writes months, days and nanoseconds, which stay apart because a month and a day have no fixed length.
pub(super) fn write_interval(f: &mut dyn Write, months: i32, days: i32, nanos: i128) -> Result {
    let mut separator = "";
    for (value, unit) in [(months / 12, "year"), (months % 12, "month"), (days, "day")] {
        if value != 0 {
            let plural = if value.abs() == 1 { "" } else { "s" };
            write!(f, "{separator}{value} {unit}{plural}")?;
            separator = " ";
        }
    }
    if nanos == 0 {
        return if separator.is_empty() { f.write_str("00:00:00") } else { Ok(()) };
    }
    f.write_str(separator)?;
    write_clock(f, nanos)
}

/// Writes a span of exact length, whole days first.
pub(super) fn write_duration(f: &mut dyn Write, nanos: i128) -> Result {
    let days = i32::try_from(nanos / NANOS_PER_DAY);
    match days {
        Ok(days) => write_interval(f, 0, days, nanos % NANOS_PER_DAY),
        // Only a duration counted in seconds reaches beyond 5 million years: then in hours.
        Err(_) => write_clock(f, nanos),
    }
}

fn write_clock(f: &mut dyn Write, nanos: i128) -> Result {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, fraction) = (nanos.unsigned_abs() / NANOS_PER_SECOND, nanos.unsigned_abs() % NANOS_PER_SECOND);
    write!(f, "{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction == 0 {
        return Ok(());
    }
    let digits = format!("{fraction:09}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::{write_duration, write_interval};

    fn interval(months: i32, days: i32, nanos: i128) -> String {
        let mut text = String::new();
        write_interval(&mut text, months, days, nanos).unwrap();
        text
    }

    #[test]
    fn intervals_read_as_in_duckdb() {
        assert_eq!(interval(14, 3, 14_706_000_000_000), "1 year 2 months 3 days 04:05:06");
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(-13, 1, 0), "-1 year -1 month 1 day");
        assert_eq!(interval(0, 0, -1_500_000_000), "-00:00:01.5");
        assert_eq!(interval(0, -1, 90_000_000_000_000), "-1 day 25:00:00");
        assert_eq!(interval(0, 0, 1), "00:00:00.000000001");
    }

    #[test]
    fn durations_count_days() {
        let mut text = String::new();
        write_duration(&mut text, 2 * 86_400_000_000_000 + 500_000_000).unwrap();
        assert_eq!(text, "2 days 00:00:00.5");
    }
}
