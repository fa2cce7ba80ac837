//! Many processes at once over buckets, each with what the environment gives it.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod race;
mod s3_servers;
mod support;

use s3_servers::{BUCKET, on_every_server};

#[test]
#[ignore = "a process of `of_64_processes_each_promotes_once_and_losers_know`"]
fn racer() {
    race::racer();
}

#[test]
fn of_64_processes_each_promotes_once_and_losers_know() {
    on_every_server(|server| {
        let store = server.store("race")?;
        let url = format!("s3://{BUCKET}/race");
        race::of_64_processes_each_promotes_once(&url, &server.environment(), &store);
        Ok(())
    })
    .unwrap();
}
