//! Sequences of windows and the messages about them.

use contract::classify::EntityClass;
use contract::score::Cause;

use super::*;

fn rules() -> Rules {
    Rules {
        for_windows: 2,
        resolve_after: 2,
        cool_down: Span::from_seconds(600),
        repeat: None,
        kinds: KINDS.to_vec(),
        propose_training_after: Span::from_seconds(900),
        silences: Vec::new(),
    }
}

fn window(minute: i64, verdicts: &str) -> WindowScore {
    let entity = |(index, sign)| {
        let verdict = match sign {
            'a' | 'u' => Verdict::Anomalous,
            'n' => Verdict::NoData,
            '-' => return None,
            _ => Verdict::Normal,
        };
        Some(EntityScore {
            completeness: 1.0,
            urgent: sign == 'u',
            drifting: if sign == 'd' { vec!["load".into()] } else { Vec::new() },
            missing: if sign == 'm' { vec!["memory".into()] } else { Vec::new() },
            ..EntityScore::bare(format!("node-{index}"), verdict)
        })
    };
    let entities = verdicts.chars().enumerate().filter_map(entity).collect();
    WindowScore::new("cluster", Timestamp::from_ms(minute * 60_000), "v", entities)
}

/// Takes one letter per minute for a single entity; returns the changes as `<minute>+` and
/// `<minute>-`.
fn told(verdicts: &str, rules: &Rules) -> String {
    let mut tracks = Tracks::default();
    let mut told = Vec::new();
    for (minute, sign) in (0..).zip(verdicts.chars()) {
        for change in tracks.observe(&window(minute, &sign.to_string()), rules) {
            let kind = match change.kind {
                Kind::Anomaly => "",
                Kind::NoData => "n",
                Kind::Drift => "d",
                Kind::ScoringStopped => "s",
                Kind::Mismatch => "m",
                Kind::FeatureMissing => "f",
            };
            let sign = match change.reason {
                Reason::Begins => "+",
                Reason::Worsens => "!",
                Reason::Widens => "*",
                Reason::Proposes => "?",
                Reason::Lasts => "~",
                Reason::Ends => "-",
            };
            told.push(format!("{minute}{kind}{sign}"));
        }
    }
    told.join(" ")
}

#[test]
fn an_alert_fires_after_for_windows_and_ends_after_resolve_after() {
    assert_eq!(told(".a.a.a.", &rules()), "", "never two in a row");
    assert_eq!(told(".aa", &rules()), "2+");
    assert_eq!(told(".aaaaaa", &rules()), "2+", "once");
    assert_eq!(told(".aa.a.a", &rules()), "2+", "never two normal ones in a row");
    assert_eq!(told(".aa..", &rules()), "2+ 4-");
}

#[test]
fn alert_fires_only_after_cool_down() {
    assert_eq!(told("aa..aa.....", &rules()), "1+ 3-");
    assert_eq!(told("aa..aaaaaaaaaaaa", &rules()), "1+ 3- 13+", "ten minutes after the message");
    let no_cool_down = Rules { cool_down: Span::ZERO, ..rules() };
    assert_eq!(told("aa..aa..", &no_cool_down), "1+ 3- 5+ 7-");
}

#[test]
fn missing_data_is_an_alert_of_its_own_and_no_sign_of_health() {
    assert_eq!(told("nn..", &rules()), "1n+ 3n-");
    assert_eq!(told("aannn.a", &rules()), "1+ 3n+ 6n-", "the anomaly lasts");
    assert_eq!(told("aannn..", &rules()), "1+ 3n+ 6- 6n-");
    assert_eq!(told("ana", &rules()), "2+", "an unknown window does not interrupt");
}

#[test]
fn missing_feature_is_notified_once_then_training_without_it_is_proposed_once() {
    assert_eq!(told(".mmm", &rules()), "2f+", "no anomaly and no lack of data");
    assert_eq!(told(".mmm..", &rules()), "2f+ 5f-");
    assert_eq!(told(".mmnnn..", &rules()), "2f+ 4n+ 7f- 7n-", "who sends nothing says nothing");
    let long = format!(".{}", "m".repeat(30));
    assert_eq!(told(&long, &rules()), "2f+ 16f?", "15 minutes after it began");
    let other = Rules { kinds: vec![Kind::Anomaly], ..rules() };
    assert_eq!(told(".mmm..", &other), "", "the kind is not enabled: no message");
}

#[test]
fn second_missing_feature_is_an_update() {
    let mut tracks = Tracks::default();
    let mut told = Vec::new();
    for minute in 0..20 {
        let mut window = window(minute, "m");
        if minute >= 10 {
            window.entities[0].missing.push("load".into());
        }
        for change in tracks.observe(&window, &rules()) {
            told.push((minute, change.reason, change.also, change.missing));
        }
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let first = (1, Reason::Begins, names(&[]), names(&["memory"]));
    let second = (12, Reason::Widens, names(&["load"]), names(&["memory", "load"]));
    assert_eq!(told[..2], [first, second]);
}

#[test]
fn an_entity_that_is_no_longer_reported_ends_and_is_forgotten() {
    let mut tracks = Tracks::default();
    for minute in 0..2 {
        tracks.observe(&window(minute, "aa"), &rules());
    }
    assert_eq!(tracks.firing().count(), 2);
    let gone = window(2, ".");
    assert!(tracks.observe(&gone, &rules()).is_empty());
    let last = window(3, ".-");
    let changes = tracks.observe(&last, &rules());
    assert_eq!(changes.iter().map(|c| c.score.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(changes[1].ended, Some(Timestamp::from_ms(120_000)));
    for minute in 4..20 {
        assert!(tracks.observe(&window(minute, "-."), &rules()).is_empty());
    }
    assert_eq!(tracks, Tracks::default(), "nothing is kept of what is over");
}

#[test]
fn window_without_entities_sends_nothing() {
    let mut tracks = Tracks::default();
    for minute in 0..2 {
        tracks.observe(&window(minute, "a"), &rules());
    }
    let before = tracks.clone();
    assert!(tracks.observe(&window(2, ""), &rules()).is_empty());
    assert!(tracks.observe(&window(3, ""), &rules()).is_empty());
    assert_eq!(tracks, before);
}

#[test]
fn lasting_alarm_is_repeated_and_urgent_one_is_sent_at_once() {
    assert_eq!(told(".aauuu..", &rules()), "2+ 3! 7-", "once");
    assert_eq!(told(".uu..", &rules()), "2+ 4-", "urgent from the beginning");
    let repeat = Rules { repeat: Some(Span::from_seconds(180)), ..rules() };
    assert_eq!(told(".aaaaaaaa", &repeat), "2+ 5~ 8~");
    assert_eq!(told(".aaaauaaa", &repeat), "2+ 5! 8~", "and then counted from there");
}

#[test]
fn alarm_starting_in_a_silence_is_notified_after_it() {
    let silence = |from: i64, until: i64| Silence {
        entity: None,
        kinds: vec![Kind::Anomaly],
        from: Some(Timestamp::from_ms(from * 60_000)),
        until: Some(Timestamp::from_ms(until * 60_000)),
        why: String::new(),
    };
    let silent = |from, until| Rules { silences: vec![silence(from, until)], ..rules() };
    assert_eq!(told("aaaaaa", &silent(0, 4)), "4+");
    assert_eq!(told("aaa...", &silent(0, 4)), "", "it was never sent");
    assert_eq!(told("aaaa..", &silent(2, 9)), "1+ 5-", "the end of a sent alert is sent");
    assert_eq!(told("aauuuu", &silent(2, 4)), "1+ 4!");
    assert_eq!(told("nn..", &silent(0, 9)), "1n+ 3n-", "another kind");
}

#[test]
fn disabled_kinds_never_fire_and_firing_ones_end() {
    let only_no_data = Rules { kinds: vec![Kind::NoData], ..rules() };
    assert_eq!(told("aaaann", &only_no_data), "5n+");
    let mut tracks = Tracks::default();
    for minute in 0..2 {
        tracks.observe(&window(minute, "a"), &rules());
    }
    for minute in 2..4 {
        tracks.observe(&window(minute, "a"), &only_no_data);
    }
    assert_eq!(tracks.firing().count(), 0);
}

#[test]
fn drift_lasts_until_a_window_looks_at_the_whole_day() {
    assert_eq!(told("dd......", &rules()), "1d+");
    let mut tracks = Tracks::default();
    let mut changes = 0;
    let mut observe = |minute, letter, drifted: Option<bool>| {
        let mut score = window(minute, letter);
        score.drift = drifted.map(|drifted| contract::score::Drift {
            since: Timestamp::from_ms(0),
            rows: 1440,
            features: vec![contract::score::FeatureDrift {
                feature: "load".into(),
                stability_index: Some(0.7),
                missing_ratio: 0.0,
                usual_missing_ratio: 0.0,
                drifted,
            }],
        });
        let told = tracks.observe(&score, &rules());
        changes += told.len();
        let whole = |change: &Change<'_>| change.kind == Kind::Drift && change.entity.is_empty();
        assert!(told.iter().all(whole));
        changes
    };
    for (minute, drifted, expected) in
        [(0, true, 0), (60, true, 1), (120, false, 1), (180, false, 2)]
    {
        assert_eq!(observe(minute, ".", Some(drifted)), expected);
        assert_eq!(observe(minute + 1, ".", None), expected);
    }
}

#[test]
fn zero_in_the_document_counts_as_one() {
    let rules = Rules::of(&Alerts { for_windows: 0, resolve_after: 0, ..Alerts::default() });
    assert_eq!((rules.for_windows, rules.resolve_after), (1, 1));
}

/// Causes by name, each outside of its usual range and with an equal share; a name in brackets is
/// inside its range.
fn caused(minute: i64, names: &[&str]) -> WindowScore {
    let cause = |name: &&str| Cause {
        feature: name.trim_matches(['(', ')']).to_owned(),
        share: 1.0 / names.len() as f64,
        value: Some(if name.starts_with('(') { 0.5 } else { 2.0 }),
        unit: String::new(),
        usual_low: 0.0,
        usual_high: 1.0,
    };
    let mut score = window(minute, if names.is_empty() { "." } else { "a" });
    score.entities[0].causes = names.iter().map(cause).collect();
    score
}

/// Returns the changes as `<minute>+` and `<minute>*feature,feature`.
fn updates(windows: &[&[&str]], rules: &Rules) -> String {
    let mut tracks = Tracks::default();
    let mut told = Vec::new();
    for (minute, names) in (0..).zip(windows) {
        // Between two runs the state is in a file.
        let state = serde_json::to_vec(&tracks).unwrap();
        tracks = serde_json::from_slice(&state).unwrap();
        for change in tracks.observe(&caused(minute, names), rules) {
            let sign = match change.reason {
                Reason::Begins => "+",
                Reason::Widens => "*",
                Reason::Proposes => "?",
                Reason::Worsens => "!",
                Reason::Lasts => "~",
                Reason::Ends => "-",
            };
            told.push(format!("{minute}{sign}{}", change.also.join(",")));
        }
    }
    told.join(" ")
}

#[test]
fn a_second_fault_during_a_standing_alarm_is_an_update() {
    let (cpu, both): (&[&str], &[&str]) = (&["cpu"], &["cpu", "memory"]);
    let windows = [cpu, cpu, cpu, both, both, both, both, both];
    assert_eq!(updates(&windows, &rules()), "1+ 5*memory", "after three windows, once");
    let rules = Rules { for_windows: 4, ..rules() };
    let windows = [cpu, cpu, cpu, cpu, both, both, both, both, both];
    assert_eq!(updates(&windows, &rules), "3+ 7*memory", "after `for` windows");
}

#[test]
fn chance_or_related_leading_feature_is_not_an_update() {
    let cpu: &[&str] = &["cpu"];
    let chance: [&[&str]; 8] =
        [cpu, cpu, &["cpu", "disk"], cpu, &["cpu", "load"], &["cpu", "disk"], cpu, &["load"]];
    assert_eq!(updates(&chance, &rules()), "1+");
    let usual: &[&str] = &["cpu", "(memory)"];
    assert_eq!(updates(&[cpu, cpu, usual, usual, usual, usual], &rules()), "1+");
    let same: &[&str] = &["cpu_mean_10m"];
    assert_eq!(updates(&[cpu, cpu, same, same, same, same], &rules()), "1+");
}

#[test]
fn updates_have_a_cool_down_of_their_own_and_end_with_the_alarm() {
    let (cpu, both, all): (&[&str], &[&str], &[&str]) =
        (&["cpu"], &["cpu", "memory"], &["cpu", "memory", "disk"]);
    let mut windows = vec![cpu, cpu];
    windows.extend([both; 3]);
    windows.extend([all; 12]);
    // The message of minute 1 does not delay the update of minute 4; that update delays the update
    // about the disk.
    assert_eq!(updates(&windows, &rules()), "1+ 4*memory 14*disk");
    let none: &[&str] = &[];
    let rules = Rules { cool_down: Span::ZERO, ..rules() };
    let windows = [cpu, cpu, none, none, both, both, both, both];
    assert_eq!(updates(&windows, &rules), "1+ 3- 5+", "the next alarm tells both from the start");
}

/// A window of `task: classify`, which has only entities with changes: one mismatch for each name.
fn classes(minute: i64, mismatches: &[&str]) -> WindowScore {
    let entity = |name: &&str| EntityScore {
        entity: (*name).to_owned(),
        class: Some(EntityClass {
            class: Some("redis".to_owned()),
            unknown: None,
            nearest: "redis".to_owned(),
            probability: 0.99,
            declared: Some("nginx".to_owned()),
            since: Timestamp::from_ms(0),
            first_seen: Timestamp::from_ms(0),
            windows: 9,
            mismatch: true,
        }),
        ..window(minute, ".").entities.remove(0)
    };
    WindowScore {
        entities: mismatches.iter().map(entity).collect(),
        classes: Some([("nginx".to_owned(), 3)].into()),
        ..window(minute, "")
    }
}

#[test]
fn a_mismatch_that_is_over_ends_though_no_window_lists_an_entity_any_more() {
    let mut tracks = Tracks::default();
    let mut told = Vec::new();
    for minute in 0..6 {
        let mismatches: &[&str] = if minute < 2 { &["web-0"] } else { &[] };
        let score = classes(minute, mismatches);
        for change in tracks.observe(&score, &rules()) {
            told.push((minute, change.kind, change.reason, change.gone));
        }
    }
    let (begins, ends) = (Reason::Begins, Reason::Ends);
    assert_eq!(told, [(1, Kind::Mismatch, begins, false), (3, Kind::Mismatch, ends, false)]);
    assert_eq!(tracks.firing().count(), 0);
}
