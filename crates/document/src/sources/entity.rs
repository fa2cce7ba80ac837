//! How the entities of a source are named.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the entities of a source are named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Entity {
    /// Labels with the name of the entity. The first one that a series has is used, as in `[pod,
    /// pod_name]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether a port at the end of the name is removed: `10.1.2.3:9100` becomes `10.1.2.3`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strip_port: bool,
    /// Whether the domain of a host name is removed: `node-1.example.com` becomes `node-1`. IP
    /// addresses do not change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strip_domain: bool,
    /// New names by old ones, after the rules above: `{10.1.2.3: node-1}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Sample columns of texts, and the label that each is made of: `{role: node_role}`. It is a
    /// label of the series, of the endpoint or its info metric, of the node or pod, or a column of
    /// the table or database. In the samples a text is a number that is the same for the same text (48 bits of
    /// its SHA-256), and a gap where the label is missing or empty; a label of a node or pod without
    /// a value is its own name. `group_by` of `peers` takes such columns; the patterns of rules
    /// never mean them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
}

impl Entity {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the name that an entity has in the samples.
    pub fn rename<'a>(&'a self, name: &'a str) -> &'a str {
        let mut name = name;
        if self.strip_port {
            name = without_port(name);
        }
        if self.strip_domain && name.parse::<std::net::IpAddr>().is_err() {
            name = name.split('.').next().unwrap_or(name);
        }
        self.names.get(name).map_or(name, String::as_str)
    }
}

/// Returns a name without `:port`, and an IPv6 address without its brackets.
fn without_port(name: &str) -> &str {
    if let Some(rest) = name.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match name.rsplit_once(':') {
        // More than one colon is an IPv6 address.
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_lose_port_and_domain_and_get_new_names() {
        let mut entity = Entity { strip_port: true, ..Entity::default() };
        for (name, expected) in [
            ("10.1.2.3:9100", "10.1.2.3"),
            ("node-1:9100", "node-1"),
            ("[2001:db8::1]:9100", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("node-1", "node-1"),
            ("node:http", "node:http"),
            ("", ""),
        ] {
            assert_eq!(entity.rename(name), expected);
        }
        entity.strip_domain = true;
        entity.names.insert("10.1.2.3".to_owned(), "edge".to_owned());
        assert_eq!(entity.rename("node-1.example.com:9100"), "node-1");
        assert_eq!(entity.rename("10.1.2.3:9100"), "edge");
        assert_eq!(entity.rename("10.1.2.4:9100"), "10.1.2.4");
    }
}
