//! A page as a browser's parser reads it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeSet;

use html5ever::parse_document;
use html5ever::tendril::TendrilSink as _;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// A parsed page.
pub(crate) struct Parsed {
    dom: RcDom,
}

/// An element: its name, and its attributes by name.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    handle: Handle,
}

impl Element {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(attribute, _)| attribute == name);
        found.map(|(_, value)| value.as_str())
    }

    fn has_child(&self, name: &str) -> bool {
        let mut found = Vec::new();
        collect(&self.handle, &mut found);
        found.iter().any(|element| element.name == name)
    }
}

impl Parsed {
    pub(crate) fn of(page: &str) -> Self {
        Self { dom: parse_document(RcDom::default(), html5ever::ParseOpts::default()).one(page) }
    }

    /// Returns all elements with a name; `*` means all elements.
    pub(crate) fn elements(&self, name: &str) -> Vec<Element> {
        let mut found = Vec::new();
        collect(&self.dom.document, &mut found);
        found.retain(|element| name == "*" || element.name == name);
        found
    }

    /// Returns the text of the body, with white space collapsed.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        gather_text(&self.dom.document, &mut text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Checks the properties of every page.
    pub(crate) fn check(&self) {
        assert_eq!(*self.dom.errors.borrow(), Vec::<String>::new(), "valid HTML");
        let all = self.elements("*");
        let ids: Vec<&str> = all.iter().filter_map(|element| element.get("id")).collect();
        let known: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), known.len(), "ids are unique: {ids:?}");
        for element in &all {
            check_alone(element);
            for attribute in ["aria-labelledby", "href"] {
                let target = element.get(attribute).map(|target| target.trim_start_matches('#'));
                assert!(target.is_none_or(|id| known.contains(id)), "{element:?}");
            }
        }
        self.check_headings();
        for name in ["main", "h1", "header", "footer", "title"] {
            assert_eq!(self.elements(name).len(), 1, "one {name}");
        }
        assert_eq!(self.elements("html")[0].get("lang"), Some("en"));
    }

    /// Checks that no level of headings is skipped.
    fn check_headings(&self) {
        let mut before = 0;
        for element in self.elements("*") {
            let level = element.name.strip_prefix('h').and_then(|level| level.parse::<u8>().ok());
            if let Some(level) = level {
                assert!(level <= before + 1, "h{level} after h{before}");
                before = level;
            }
        }
    }
}

/// Checks that an element runs no script, loads no external resource, and has an alternative text
/// if it needs one.
fn check_alone(element: &Element) {
    let forbidden = ["script", "iframe", "object", "embed", "link", "img", "base", "form"];
    assert!(!forbidden.contains(&element.name.as_str()), "{element:?}");
    for (name, value) in &element.attributes {
        assert!(!name.starts_with("on") && name != "src" && name != "style", "{element:?}");
        assert!(name != "href" || value.starts_with('#'), "{element:?}");
        assert!(!value.contains("url("), "{element:?}");
    }
    match element.name.as_str() {
        "svg" => {
            assert_eq!(element.get("role"), Some("img"));
            assert!(element.get("aria-label").is_some_and(|label| label.len() > 20));
        }
        "table" => assert!(element.has_child("caption") && element.has_child("thead")),
        "th" => assert!(element.get("scope").is_some()),
        "figure" => assert!(element.has_child("figcaption")),
        "polyline" | "polygon" => {
            let points = element.get("points").unwrap_or_default();
            assert!(!points.contains("NaN") && !points.is_empty(), "{element:?}");
        }
        _ => {}
    }
}

fn collect(handle: &Handle, found: &mut Vec<Element>) {
    for child in handle.children.borrow().iter() {
        if let NodeData::Element { name, attrs, .. } = &child.data {
            let attributes = attrs.borrow();
            let attributes = attributes
                .iter()
                .map(|attribute| (attribute.name.local.to_string(), attribute.value.to_string()));
            found.push(Element {
                name: name.local.to_string(),
                attributes: attributes.collect(),
                handle: child.clone(),
            });
        }
        collect(child, found);
    }
}

fn gather_text(handle: &Handle, text: &mut String) {
    for child in handle.children.borrow().iter() {
        match &child.data {
            NodeData::Text { contents } => text.push_str(&contents.borrow()),
            NodeData::Element { name, .. } => match &*name.local {
                "style" | "title" => {}
                // Parts of one line.
                "wbr" | "code" | "strong" | "span" | "small" | "b" => gather_text(child, text),
                _ => {
                    text.push(' ');
                    gather_text(child, text);
                    text.push(' ');
                }
            },
            _ => gather_text(child, text),
        }
    }
}
