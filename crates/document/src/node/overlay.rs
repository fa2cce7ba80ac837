//! Changes of the fields of a map and of the items of a list.

use std::collections::BTreeSet;

use contract::units::counted;

use super::{Key, Node, Value};
use crate::deserialize::{Misfit, closest};

pub(super) fn overlay_fields(
    entries: &mut Vec<(Key, Node)>,
    changes: &[(Key, Node)],
) -> Result<(), Misfit> {
    for (key, change) in changes {
        let index = entries.iter().position(|(k, _)| k.text == key.text);
        match (index, &change.value) {
            (Some(index), Value::Null) => drop(entries.remove(index)),
            (None, Value::Null) => {}
            (Some(index), _) => {
                let laid = entries[index].1.overlay(change.clone());
                laid.map_err(|misfit| misfit.inside(key.text.clone()))?;
            }
            (None, _) => {
                let mut change = change.clone();
                change.without_nulls();
                entries.push((key.clone(), change));
            }
        }
    }
    Ok(())
}

/// Changes items by their numbers or names, as in `--set queries.0.promql=up`.
pub(super) fn overlay_items(items: &mut Vec<Node>, changes: &[(Key, Node)]) -> Result<(), Misfit> {
    let mut gone = BTreeSet::new();
    for (key, change) in changes {
        let named = || items.iter().position(|item| name_of(item) == Some(key.text.as_str()));
        let number = key.number().filter(|number| *number < items.len()).or_else(named);
        let number = number.ok_or_else(|| no_item(key, items))?;
        if matches!(change.value, Value::Null) {
            gone.insert(number);
        } else {
            let laid = items[number].overlay(change.clone());
            laid.map_err(|misfit| misfit.inside(key.text.clone()))?;
        }
    }
    // Items are removed from the end, because all indexes refer to the original list.
    gone.into_iter().rev().for_each(|number| drop(items.remove(number)));
    Ok(())
}

pub(super) fn are_numbered(changes: &[(Key, Node)]) -> bool {
    !changes.is_empty() && changes.iter().all(|(key, _)| key.number().is_some())
}

/// Returns the name of an item, if it has one.
fn name_of(item: &Node) -> Option<&str> {
    match &item.get("name")?.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

pub(super) fn are_named(items: &[Node]) -> bool {
    !items.is_empty() && items.iter().all(|item| name_of(item).is_some())
}

fn no_item(key: &Key, items: &[Node]) -> Misfit {
    let count = counted(items.len() as u64, "item");
    let numbered = format!("the list has {count}, numbered from 0");
    let names: Vec<&str> = items.iter().filter_map(name_of).collect();
    let meant = closest(&key.text, names.iter().copied());
    let misfit = match meant {
        Some(meant) if key.number().is_none() => {
            Misfit::new(format!("no item `{}`: did you mean `{meant}`?", key.text))
        }
        _ if key.number().is_none() && !names.is_empty() => Misfit::new(format!(
            "no item `{}`: {numbered}, and named {}",
            key.text,
            names.join(", ")
        )),
        _ => Misfit::new(format!("no item `{}`: {numbered}", key.text)),
    };
    misfit.at(&key.place)
}
