//! A labelled table of hosts, and the document of a pipeline that reads it.

use std::fmt::Write as _;
use std::ops::Range;

/// 2026-11-21T00:00:00Z in seconds.
const START: i64 = 1_795_219_200;

pub(crate) const DOCUMENT: &str = "format: 1
name: hosts
step: 1m
range: 1d
now: last_row
sources:
  rows: {table: {path: rows.csv, time: time, time_format: seconds, entity: host, label: label}}
labels: {normal: [benign]}
features: [raw]
models: {z_score: {}}
vote: {combine: votes, threshold: {quantile: {share: 0.99}}}
gate: {max_false_alarm_ratio: 0.5}
";

/// Some hosts, a row a minute each; three minutes of each hour are faults, and `is_raised` says in
/// which of them `requests` shows it.
pub(crate) fn table(minutes: Range<i64>, hosts: i64, is_raised: impl Fn(i64) -> bool) -> String {
    let mut text = "time,host,requests,errors,label\n".to_owned();
    for minute in minutes {
        for host in 0..hosts {
            let wave = |factor: i64| ((minute * factor + host * 13).rem_euclid(97)) as f64 / 97.0;
            let odd = (minute + host * 7).rem_euclid(60) >= 57;
            let requests = wave(31) + if odd && is_raised(minute) { 9.0 } else { 0.0 };
            let label = if odd { "flood" } else { "BENIGN" };
            let time = START + 60 * minute;
            writeln!(text, "{time},h{host},{requests},{},{label}", wave(57)).expect("a string");
        }
    }
    text
}
