//! The text of each message on standard output.

use std::io::Write as _;
use std::path::Path;

use contract::{StepError, Timestamp};
use document::channels::stdout::StdoutChannel;

use crate::channels::{Channel, Failure, Opener};
use crate::message::Message;

/// Standard output; an empty line follows each message.
#[derive(Debug)]
struct Stdout;

impl Opener for StdoutChannel {
    fn open(&self, _: &Path) -> Box<dyn Channel> {
        Box::new(Stdout)
    }
}

impl Channel for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn send(&mut self, message: &Message, _: Timestamp) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}\n", message.text).and_then(|()| stdout.flush()).map_err(|e| {
            StepError::unavailable(format!("cannot write to standard output: {e}"))
                .hint("check that the disk of the output is not full")
        })?;
        Ok(())
    }
}
