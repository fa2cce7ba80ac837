//! YAML as a tree in which every value has its file, line and column.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use contract::StepError;
use yaml::{Event, Events, ScalarStyle};

mod overlay;

pub use crate::deserialize::Misfit;
use overlay::{are_named, are_numbered, overlay_fields, overlay_items};

/// Deepest nesting of a document; deeper documents are refused before they exhaust the stack.
const MAX_DEPTH: usize = 64;
/// Most values of a document with its aliases expanded.
const MAX_NODES: usize = 100_000;
const TOO_LARGE: &str = "nested too deeply or too large";

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// File, or `--set field`.
    pub source: Arc<str>,
    /// Line from 1; 0 if the source has no lines.
    pub line: usize,
    /// Column from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.column),
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
}

/// A value of YAML.
#[derive(Debug, Clone)]
pub enum Value {
    /// None.
    Null,
    /// Text as written; `quoted` means that it can only be a string.
    Scalar {
        /// The text.
        text: String,
        /// Whether it is in quotes, or a block of text.
        quoted: bool,
    },
    /// Values in an order.
    List(Vec<Node>),
    /// Values by name, in the order of the file; no name occurs twice.
    Map(Vec<(Key, Node)>),
}

/// A name in a map, with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name.
    pub text: String,
    /// Where it begins.
    pub place: Place,
}

impl Key {
    /// Returns the number of a list's item.
    fn number(&self) -> Option<usize> {
        self.text.parse().ok()
    }
}

impl Node {
    /// Returns the value of a map's key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
            }
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            Value::Null | Value::Scalar { .. } => None,
        }
    }

    /// Removes a map's key and returns its value.
    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|(k, _)| k.text == key)?;
        Some(entries.remove(index).1)
    }

    /// Removes the value at a path; returns whether there was one.
    pub(crate) fn remove(&mut self, path: &[String]) -> bool {
        let Some((key, rest)) = path.split_first() else { return false };
        match (&mut self.value, rest) {
            (Value::Map(_), []) => self.take(key).is_some(),
            (Value::List(items), []) => match key.parse::<usize>() {
                Ok(index) if index < items.len() => {
                    items.remove(index);
                    true
                }
                _ => false,
            },
            (Value::Map(entries), rest) => {
                let found = entries.iter_mut().find(|(entry, _)| entry.text == *key);
                found.is_some_and(|(_, node)| node.remove(rest))
            }
            (Value::List(items), rest) => {
                let index = key.parse::<usize>().ok();
                let found = index.and_then(|index| items.get_mut(index));
                found.is_some_and(|node| node.remove(rest))
            }
            (Value::Null | Value::Scalar { .. }, _) => false,
        }
    }

    /// Returns the place of the value at a path, or of the deepest value on the way there.
    pub(crate) fn place_of(&self, path: &[String]) -> &Place {
        match path.split_first().and_then(|(key, rest)| Some((self.get(key)?, rest))) {
            Some((child, rest)) => child.place_of(rest),
            None => &self.place,
        }
    }

    /// Applies another tree over this one: maps are merged, `null` removes a field or an item, a
    /// map of numbers or names changes the items of a list (counted from 0), and any other value
    /// replaces the existing one. An empty tree, such as a file with only comments, changes
    /// nothing.
    pub(crate) fn overlay(&mut self, mut other: Self) -> Result<(), Misfit> {
        match (&mut self.value, &other.value) {
            (_, Value::Null) => Ok(()),
            (Value::Map(entries), Value::Map(changes)) => overlay_fields(entries, changes),
            (Value::List(items), Value::Map(changes))
                if are_numbered(changes) || (!changes.is_empty() && are_named(items)) =>
            {
                overlay_items(items, changes)
            }
            (
                Value::Null | Value::Scalar { .. } | Value::List(_) | Value::Map(_),
                Value::Scalar { .. } | Value::List(_) | Value::Map(_),
            ) => {
                other.without_nulls();
                *self = other;
                Ok(())
            }
        }
    }

    /// Returns whether two trees of changes can be applied together, as [`Node::join`] does.
    pub(crate) fn joins(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Map(_), Value::Map(entries)) => entries
                .iter()
                .all(|(key, node)| self.get(&key.text).is_none_or(|known| known.joins(node))),
            // A value that was replaced or removed must be changed afterwards.
            (_, Value::Map(_)) => false,
            (_, Value::Null | Value::Scalar { .. } | Value::List(_)) => true,
        }
    }

    /// Adds further changes to a tree of changes; for a field that both set, the later value
    /// applies.
    pub(crate) fn join(&mut self, other: Self) {
        match (&mut self.value, other.value) {
            (Value::Map(known), Value::Map(entries)) => {
                for (key, node) in entries {
                    match known.iter_mut().find(|(other, _)| other.text == key.text) {
                        Some((_, known)) => known.join(node),
                        None => known.push((key, node)),
                    }
                }
            }
            (_, value) => *self = Self { value, place: other.place },
        }
    }

    /// Removes the fields that `null` removes if there is no lower layer.
    fn without_nulls(&mut self) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(_, node)| !matches!(node.value, Value::Null));
            entries.iter_mut().for_each(|(_, node)| node.without_nulls());
        }
    }

    /// Makes the tree that sets one field: `a.b.c` and a value give `{a: {b: {c: value}}}`.
    pub(crate) fn nested(path: &[&str], leaf: Self) -> Self {
        path.iter().rev().fold(leaf, |inner, key| {
            let place = inner.place.clone();
            let key = Key { text: (*key).to_owned(), place: place.clone() };
            Self { value: Value::Map(vec![(key, inner)]), place }
        })
    }
}

/// Parses one YAML document; `source` names it in errors.
pub fn parse(source: &str, text: &str) -> Result<Node, StepError> {
    Loader { source: source.into(), events: Events::of(text), anchors: HashMap::new(), nodes: 0 }
        .load()
}

/// Parses the value of `--set field=value`; its place is the flag.
pub(crate) fn parse_flag_value(field: &str, text: &str) -> Result<Node, StepError> {
    let source = format!("--set {field}");
    let mut node = parse(&source, text)?;
    without_lines(&mut node);
    Ok(node)
}

fn without_lines(node: &mut Node) {
    node.place.line = 0;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(without_lines),
        Value::Map(entries) => {
            for (key, value) in entries {
                key.place.line = 0;
                without_lines(value);
            }
        }
        Value::Null | Value::Scalar { .. } => {}
    }
}

struct Loader<'a> {
    source: Arc<str>,
    events: Events<'a>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Loader<'a> {
    fn load(mut self) -> Result<Node, StepError> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                _ if root.is_some() => {
                    return Err(at(&place, "a second document; one file holds one"));
                }
                event => root = Some(self.node(event, place, 0)?),
            }
        }
        let place = Place { source: Arc::clone(&self.source), line: 1, column: 1 };
        Ok(root.unwrap_or(Node { value: Value::Null, place }))
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), StepError> {
        let place = |marker: &yaml::Marker| Place {
            source: Arc::clone(&self.source),
            line: marker.line(),
            column: marker.col() + 1,
        };
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            Some(Err(error)) => Err(at(&place(error.marker()), error.info())
                .hint("the file is not YAML here: check indentation, colons and quotes")),
            None => Ok((Event::StreamEnd, place(&yaml::Marker::new(0, 1, 0)))),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, StepError> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(at(&place, TOO_LARGE));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = !matches!(style, ScalarStyle::Plain);
                let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let scalar = Value::Scalar { text: text.into_owned(), quoted };
                (if null { Value::Null } else { scalar }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let node = self
                    .anchors
                    .get(&anchor)
                    .ok_or_else(|| at(&place, "alias of an unknown anchor"))?;
                self.nodes += count(node);
                if depth + height(node) > MAX_DEPTH || self.nodes > MAX_NODES {
                    return Err(at(&place, TOO_LARGE));
                }
                return Ok(node.clone());
            }
            _ => return Err(at(&place, "unexpected end of the document")),
        };
        let node = Node { value, place };
        if anchor > 0 {
            // The copy counts too, because each level of nested anchors copies all levels below it.
            self.nodes += count(&node);
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, StepError> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, place, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, StepError> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, place) = self.next()?;
            let text = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(at(&place, "a field name must be plain text")),
            };
            if let Some(first) = lines.insert(text.clone(), place.line) {
                let message = format!("field `{text}` occurs twice, first in line {first}");
                return Err(at(&place, &message));
            }
            let (event, value_place) = self.next()?;
            let node = self.node(event, value_place, depth + 1)?;
            entries.push((Key { text, place }, node));
        }
    }
}

/// Returns the levels below a node.
fn height(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => items.iter().map(|node| 1 + height(node)).max().unwrap_or(0),
        Value::Map(entries) => entries.iter().map(|(_, node)| 1 + height(node)).max().unwrap_or(0),
        Value::Null | Value::Scalar { .. } => 0,
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| count(node)).sum::<usize>(),
        Value::Null | Value::Scalar { .. } => 0,
    }
}

pub(crate) fn at(place: &Place, message: &str) -> StepError {
    StepError::usage(format!("{place}: {message}"))
}
