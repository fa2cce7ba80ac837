//! Words of messages.

use super::*;

#[test]
fn message_time_is_shown_to_the_minute_in_zone_and_utc() {
    let shown =
        |text: &str, zone: &str| super::shown(text.parse().unwrap(), &TimeZone::get(zone).unwrap());
    assert_eq!(shown("2026-11-21T08:36:00Z", "UTC"), "2026-11-21 08:36 UTC");
    assert_eq!(shown("2026-11-21T08:36:07Z", "UTC"), "2026-11-21 08:36:07 UTC");
    let brussels = "Europe/Brussels";
    assert_eq!(shown("2026-11-21T08:36:00Z", brussels), "2026-11-21 09:36 CET (08:36 UTC)");
    assert_eq!(shown("2026-07-21T08:36:00Z", brussels), "2026-07-21 10:36 CEST (08:36 UTC)");
    assert_eq!(
        shown("2026-11-21T23:36:00Z", brussels),
        "2026-11-22 00:36 CET (2026-11-21 23:36 UTC)"
    );
}

#[test]
fn alarm_names_its_likely_kind_of_fault() {
    let of = |kind: &str, nearest: &str| {
        let (kind, nearest) = (kind.to_owned(), nearest.to_owned());
        diagnosis(&Diagnosed { kind, nearest, probability: 0.921, likeness: 0.5 })
    };
    assert_eq!(of("memory_stress", "memory_stress"), "looks like memory_stress (92.1 %)");
    let unknown = "unlike every known kind of fault, nearest cpu_stress (92.1 %)";
    assert_eq!(of("unknown", "cpu_stress"), unknown);
}

#[test]
fn a_cause_says_how_many_usual_ranges_it_is_off() {
    let cause = |value, usual_low, usual_high| {
        words(&Cause {
            feature: "f".into(),
            share: 1.0,
            value,
            unit: String::new(),
            usual_low,
            usual_high,
        })
    };
    assert_eq!(cause(Some(17.0), 1.0, 3.0), "f 17, usually 1 to 3 (above by 7 times that range)");
    assert_eq!(cause(Some(-9.0), 1.0, 3.0), "f −9, usually 1 to 3 (below by 5 times that range)");
    assert_eq!(cause(Some(4.0), 1.0, 3.0), "f 4, usually 1 to 3");
    assert_eq!(cause(Some(4.0), 0.0, 0.0), "f 4, usually 0", "no range, no times");
    assert_eq!(cause(None, 1.0, 3.0), "f missing, usually 1 to 3");
}
