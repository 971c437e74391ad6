//! Dates as `java.util.Date.toString` prints them in UTC.

use std::fmt;

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// The Gregorian calendar repeats itself after 400 years.
const DAYS_OF_400_YEARS: i64 = 146_097;
/// From 1 March of the year 0, with which leap days come last, to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// Years are counted from March, so that the day that may be missing is the last one.
const MONTHS: [&str; 12] =
    ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];

/// A moment in milliseconds since 1970, printed like `Sun Nov 22 00:34:58 UTC 2026`.
#[derive(Clone, Copy)]
pub(super) struct JavaDate(pub(super) i64);

impl fmt::Display for JavaDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000);
        let (days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        // 1 January 1970 was a Thursday.
        let weekday = WEEKDAYS[(days + 4).rem_euclid(7) as usize];
        let (year, month, day) = calendar(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
    }
}

/// Year, month and day of a number of days since 1970.
fn calendar(days: i64) -> (i64, &'static str, i64) {
    let days = days + DAYS_TO_1970;
    let cycle = days.div_euclid(DAYS_OF_400_YEARS);
    let day_of_cycle = days.rem_euclid(DAYS_OF_400_YEARS);
    // Leap days every 4 years (1,461 days), but not every 100 (36,524), but at the end of 400.
    let leap_days = day_of_cycle / 1_460 - day_of_cycle / 36_524 + day_of_cycle / (DAYS_OF_400_YEARS - 1);
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // From March on, months have 31, 30, 31, 30, 31 days and again: 153 in five months.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle + i64::from(month >= 10);
    (year, MONTHS[month as usize], day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_printed_as_in_java() {
        let cases = [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (951_868_800_000, "Wed Mar 01 00:00:00 UTC 2000"),
            (1_709_164_799_999, "Wed Feb 28 23:59:59 UTC 2024"),
            (1_709_251_199_000, "Thu Feb 29 23:59:59 UTC 2024"),
            (1_795_307_668_457, "Sun Nov 22 00:34:28 UTC 2026"),
            (4_102_444_800_000, "Fri Jan 01 00:00:00 UTC 2100"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
            (253_402_300_799_000, "Fri Dec 31 23:59:59 UTC 9999"),
        ];
        for (wall_ms, expected) in cases {
            assert_eq!(JavaDate(wall_ms).to_string(), expected);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 10, 1);
        for days in 0..DAYS_OF_400_YEARS + 1 {
            assert_eq!(calendar(days), (year, MONTHS[month], day), "{days} days after 1970 began");
            let length = match MONTHS[month] {
                "Feb" => 28 + i64::from(is_leap(year)),
                "Apr" | "Jun" | "Sep" | "Nov" => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = ((month + 1) % 12, 1);
                year += i64::from(MONTHS[month] == "Jan");
            }
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for wall_ms in [i64::MIN, i64::MAX] {
            assert!(JavaDate(wall_ms).to_string().contains("UTC"));
        }
    }
}
