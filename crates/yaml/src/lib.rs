//! The parser of YAML, compiled for text in memory.
//!
//! It is a crate of its own because it is worth optimising: every step of a run reads the document again. The crate
//! `saphyr-parser` holds it as generic code, which is compiled at the level of the crate that uses it, and
//! `document` is hardly optimised in the first build.

pub use saphyr_parser::{Event, Marker, ScalarStyle, ScanError, Span};
use saphyr_parser::{Parser, StrInput};

/// The events of a YAML text, such as "a list begins".
pub struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    /// Starts to read a text.
    pub fn of(text: &'a str) -> Self {
        Self(Parser::new_from_str(text))
    }

    /// Returns the next event with its place in the text; none after the last one.
    #[inline(never)]
    pub fn next_event(&mut self) -> Option<Result<(Event<'a>, Span), ScanError>> {
        self.0.next_event()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_text_come_in_order_with_their_places() {
        let mut events = Events::of("a: [1]");
        let mut scalars = Vec::new();
        while let Some(next) = events.next_event() {
            if let (Event::Scalar(text, ..), span) = next.unwrap() {
                scalars.push((text.into_owned(), span.start.line(), span.start.col()));
            }
        }
        assert_eq!(scalars, [("a".to_owned(), 1, 0), ("1".to_owned(), 1, 4)]);
    }

    #[test]
    fn bracket_that_is_never_closed_is_an_error() {
        let mut events = Events::of("a: [1");
        assert!(std::iter::from_fn(|| events.next_event()).any(|next| next.is_err()));
    }
}
