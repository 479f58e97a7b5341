//! The texts of dates, timestamps and decimals, digit by digit. Arrow's formatters write the same texts, through chrono and
//! through a `String` for each decimal, at a fifth of the speed: a table of orders would not reach a million rows a second.
//! It refuses what is rare (years beyond four digits, decimals beyond 18): there the caller asks Arrow.

/// The first and last day with a year of four digits, counted from 1970-01-01.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
const SECONDS_PER_DAY: i64 = 86_400;
/// Decimal digits that fit a 64-bit number whatever they are.
const DIGITS_MAX: u32 = 18;

/// A short text on the stack.
#[derive(Default)]
pub(super) struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl Digits {
    /// `2026-01-09`; none outside the years 1 to 9999.
    pub(super) fn date(days: i64) -> Option<Self> {
        let mut text = Self::default();
        text.push_date(days)?;
        Some(text)
    }

    /// `2026-01-09 12:00:00.5` of a count of `1 / per_second` seconds since 1970; none outside the years 1 to 9999.
    pub(super) fn timestamp(value: i64, per_second: i64) -> Option<Self> {
        let mut text = Self::default();
        let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
        text.push_date(seconds.div_euclid(SECONDS_PER_DAY))?;
        let second = seconds.rem_euclid(SECONDS_PER_DAY) as u64;
        text.push(b' ');
        text.push_padded(second / 3600, 2);
        text.push(b':');
        text.push_padded(second / 60 % 60, 2);
        text.push(b':');
        text.push_padded(second % 60, 2);
        if fraction > 0 {
            text.push(b'.');
            text.push_padded(fraction as u64, per_second.ilog10());
            while text.bytes[text.length - 1] == b'0' {
                text.length -= 1;
            }
        }
        Some(text)
    }

    /// `-12.50` of a count of `10^-scale`; none if the count or the scale needs more than 18 digits.
    pub(super) fn decimal(value: i128, scale: i8) -> Option<Self> {
        let scale = u32::try_from(scale).ok().filter(|scale| *scale <= DIGITS_MAX)?;
        let count = u64::try_from(value.unsigned_abs()).ok()?;
        let unit = 10_u64.pow(scale);
        let mut text = Self::default();
        if value < 0 {
            text.push(b'-');
        }
        let whole = count / unit;
        text.push_padded(whole, whole.checked_ilog10().unwrap_or(0) + 1);
        if scale > 0 {
            text.push(b'.');
            text.push_padded(count % unit, scale);
        }
        Some(text)
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        // Only ASCII was pushed, so nothing is ever lost here.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    fn push_date(&mut self, days: i64) -> Option<()> {
        if !DAYS.contains(&days) {
            return None;
        }
        let (year, month, day) = civil(days);
        self.push_padded(year, 4);
        self.push(b'-');
        self.push_padded(month, 2);
        self.push(b'-');
        self.push_padded(day, 2);
        Some(())
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// The last `width` digits of a number.
    fn push_padded(&mut self, mut value: u64, width: u32) {
        let end = self.length + width as usize;
        for byte in self.bytes[self.length..end].iter_mut().rev() {
            *byte = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.length = end;
    }
}

/// Year, month and day of a day of the Gregorian calendar, by Hinnant, "chrono-Compatible Low-Level Date Algorithms"
/// (`civil_from_days`): years that begin in March put the leap day last, so months have a closed form.
fn civil(days: i64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_TO_0000_03_01: i64 = 719_468;
    let days = days + DAYS_TO_0000_03_01;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA) as u64);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era as i64 + era * 400 + i64::from(month <= 2);
    (year as u64, month, day)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Date32Array, Decimal128Array, TimestampMicrosecondArray, TimestampNanosecondArray};
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use proptest::prelude::*;

    use super::{DAYS, Digits};

    fn arrows(array: &dyn Array) -> String {
        ArrayFormatter::try_new(array, &FormatOptions::new()).unwrap().value(0).to_string()
    }

    /// Arrow's text in our layout: a space for the `T`, no zeros at the end of the fraction.
    fn arrows_timestamp(array: &dyn Array) -> String {
        let text = arrows(array).replace('T', " ");
        if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text }
    }

    #[test]
    fn every_day_reads_as_arrow_writes_it() {
        for days in DAYS.step_by(7) {
            assert_eq!(Digits::date(days).unwrap().as_str(), arrows(&Date32Array::from(vec![days as i32])));
        }
        assert_eq!(Digits::date(*DAYS.start()).unwrap().as_str(), "0001-01-01");
        assert_eq!(Digits::date(*DAYS.end()).unwrap().as_str(), "9999-12-31");
        assert!(Digits::date(DAYS.start() - 1).is_none() && Digits::date(DAYS.end() + 1).is_none());
    }

    proptest! {
        #[test]
        fn timestamps_read_as_arrow_writes_them(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999, nanos: i64) {
            let array = TimestampMicrosecondArray::from(vec![micros]);
            prop_assert_eq!(Digits::timestamp(micros, 1_000_000).unwrap().as_str().to_owned(), arrows_timestamp(&array));
            let array = TimestampNanosecondArray::from(vec![nanos]);
            prop_assert_eq!(Digits::timestamp(nanos, 1_000_000_000).unwrap().as_str().to_owned(), arrows_timestamp(&array));
        }

        #[test]
        fn decimals_read_as_arrow_writes_them(value: i64, scale in 0_i8..=18) {
            let array = Decimal128Array::from(vec![i128::from(value)]).with_precision_and_scale(38, scale).unwrap();
            prop_assert_eq!(Digits::decimal(value.into(), scale).unwrap().as_str().to_owned(), arrows(&array));
        }
    }

    #[test]
    fn what_is_rare_is_left_to_arrow() {
        assert!(
            Digits::decimal(i128::MAX, 2).is_none()
                && Digits::decimal(1, 19).is_none()
                && Digits::decimal(1, -1).is_none()
        );
        assert!(Digits::timestamp(i64::MAX, 1).is_none());
        assert_eq!(Digits::decimal(-i128::from(u64::MAX), 18).unwrap().as_str(), "-18.446744073709551615");
        assert_eq!(Digits::decimal(i128::from(u64::MAX), 0).unwrap().as_str(), "18446744073709551615");
    }
}
