//! A day without scoring, and clocks that jump.

use anyhow::Context as _;
use serde_json::Value;

use super::code;
use super::place::{Place, command};
use crate::workspace::differences;

#[test]
fn unscored_day_is_caught_up_in_one_tick_with_one_message() -> anyhow::Result<()> {
    let place = Place::new(1440)?;
    place.tick(100 + 1440)?;
    let windows = place.scored()?.keys().filter(|name| name.starts_with("scores/")).count();
    assert_eq!(windows, 1440);
    let told = fs_err::read_to_string(place.path("told.jsonl"))?;
    let messages: Vec<Value> = told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let [message] = messages.as_slice() else { anyhow::bail!("{} messages", messages.len()) };
    let alert = message["alerts"].as_array().and_then(|all| all.first()).context("an alert")?;
    let changes = alert["changes"].as_u64().context("changes")?;
    assert!(changes > 100, "{changes} changes of the day");
    let text = message["text"].as_str().context("a text")?;
    assert!(text.contains("summary of 2026-11-21"), "{text}");
    place.tick(100 + 1440)?;
    assert_eq!(fs_err::read_to_string(place.path("told.jsonl"))?, told, "once");
    Ok(())
}

#[test]
fn a_clock_that_jumps_back_and_ahead_changes_no_score_and_no_alarm() -> anyhow::Result<()> {
    const YEAR: i64 = 365 * 1440;
    let (steady, jumping) = (Place::new(60)?, Place::new(60)?);
    for number in [120, 140, 160] {
        steady.tick(number)?;
    }
    for number in [120, 110, 100 - YEAR, 140, 130] {
        jumping.tick(number)?;
    }
    // A year ahead there is no data for longer than `catch_up`: the watermark does not move.
    let before = jumping.scored()?;
    let output = command(&jumping.score(160 + YEAR))?.output()?;
    assert_eq!(code(output.status), 3, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(command(&jumping.alert(160 + YEAR))?.output()?.status.success());
    assert_eq!(jumping.scored()?, before);
    for number in [160, 150] {
        jumping.tick(number)?;
    }
    assert_eq!(differences(&steady.scored()?, &jumping.scored()?), [""; 0]);
    assert_eq!(jumping.told()?, steady.told()?);
    Ok(())
}
