//! The text of each message on standard output.

use std::io::Write as _;

use contract::StepError;

use crate::channels::Channel;
use crate::message::Message;

/// Standard output; an empty line follows each message.
#[derive(Debug)]
pub struct Stdout;

impl Channel for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn send(&mut self, message: &Message) -> Result<(), StepError> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}\n", message.text)
            .and_then(|()| stdout.flush())
            .map_err(|e| StepError::unavailable(format!("cannot write to standard output: {e}")))
    }
}
