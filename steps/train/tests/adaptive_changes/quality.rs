//! Share of faults that are found, and false alarms, on days with a fault every eleven hours.

use std::ops::Range;

use super::{DAY, Row, Said, USUAL, Watch, found, signals};

/// Injects a fault of 20 minutes into every 11 hours from the first day on; returns the minutes of
/// the faults.
fn put_faults(rows: &mut [Row]) -> Vec<Range<usize>> {
    let first = DAY / 2;
    let faults: Vec<Range<usize>> =
        (first..rows.len() - 30).step_by(660).map(|minute| minute..minute + 20).collect();
    for (number, minutes) in faults.iter().enumerate() {
        for row in &mut rows[minutes.clone()] {
            match number % 3 {
                0 => {
                    row[1] += 12.0;
                    row[2] += 12.0;
                }
                // The two signals that usually move together diverge.
                1 => {
                    row[4] += 8.0;
                    row[5] -= 8.0;
                }
                _ => row[0] -= 18.0,
            }
        }
    }
    faults
}

/// Share of faults with an alarm, alarms a day outside them, and how well scores rank minutes of
/// faults above the others (ROC-AUC).
fn quality(said: &[Said], faults: &[Range<usize>]) -> (f64, f64, f64) {
    let is_found = |minutes: &&Range<usize>| found(&said[(*minutes).clone()]);
    let share = faults.iter().filter(is_found).count() as f64 / faults.len() as f64;
    // Up to half an hour after a fault its alarm may still be open.
    let at = |minute: usize, more: usize| {
        faults.iter().any(|fault| (fault.start..fault.end + more).contains(&minute))
    };
    let mut false_alarms = 0;
    // An alarm that begins within an hour of the last one continues it.
    let mut quiet_minutes = 60;
    for (minute, said) in said.iter().enumerate() {
        false_alarms += usize::from(said.alarmed && quiet_minutes >= 60 && !at(minute, 30));
        quiet_minutes = if said.alarmed { 0 } else { quiet_minutes + 1 };
    }
    let mut ranked: Vec<(f64, bool)> = said
        .iter()
        .enumerate()
        .filter(|(minute, _)| at(*minute, 0) || !at(*minute, 30))
        .map(|(minute, said)| (said.decision, at(minute, 0)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut usual, mut pairs, mut anomalous) = (0.0, 0.0, 0.0);
    for (_, is_fault) in ranked {
        if is_fault {
            (pairs, anomalous) = (pairs + usual, anomalous + 1.0);
        } else {
            usual += 1.0;
        }
    }
    (share, false_alarms as f64 * DAY as f64 / said.len() as f64, pairs / (usual * anomalous))
}

#[test]
fn constant_column_that_starts_to_tick_hides_no_fault_and_alarms_at_most_twice_a_day() {
    let constant = |mut rows: Vec<Row>| {
        rows.iter_mut().for_each(|row| row[3] = 5.0);
        rows
    };
    for seed in 1..=3 {
        let watch = Watch::trained(&[&constant(signals(seed, 0..5 * DAY, USUAL))]);
        let mut rows = constant(signals(100 + seed, 5 * DAY..15 * DAY, USUAL));
        let faults = put_faults(&mut rows);
        let without = quality(&watch.watch("node-0", &rows), &faults);
        // 20 times a day from day 3 on, for three minutes.
        for minute in (3 * DAY..rows.len() - 3).step_by(DAY / 20) {
            rows[minute..minute + 3].iter_mut().for_each(|row| row[3] += 0.3);
        }
        let with = quality(&watch.watch("node-0", &rows), &faults);
        let said = format!("seed {seed}: with ticks {with:?}, without {without:?}");
        assert!(with.0 >= 0.4 && without.0 >= 0.7, "faults found: {said}");
        assert!(with.1 <= 2.0 && without.1 <= 2.0, "false alarms a day: {said}");
        assert!(with.2 >= 0.9 && with.2 >= without.2 - 0.03, "ROC-AUC: {said}");
    }
}

#[test]
fn training_of_an_hour_a_day_or_three_finds_most_faults_with_at_most_three_alarms_a_day() {
    for minutes in [60, DAY, 3 * DAY] {
        let of_seed = |seed: u64| {
            let watch = Watch::trained(&[&signals(seed, 0..minutes, USUAL)]);
            let mut rows = signals(100 + seed, minutes..5 * DAY + minutes, USUAL);
            let faults = put_faults(&mut rows);
            let (found, false_alarms, _) = quality(&watch.watch("node-0", &rows), &faults);
            [found, false_alarms]
        };
        let all: Vec<[f64; 2]> = (1..=4).map(of_seed).collect();
        let [found, false_alarms] = [0, 1].map(|at| all.iter().map(|of| of[at]).sum::<f64>() / 4.0);
        assert!(found >= 0.7, "{minutes} minutes: {all:?}");
        assert!(false_alarms <= 3.0, "{minutes} minutes: {all:?}");
    }
}
