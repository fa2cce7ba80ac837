//! The document's rules for events, prepared for look-up.

use std::collections::{HashMap, HashSet};

use document::sources::Entity;
use document::sources::tetragon::{EventEntity, TetragonSource};

/// Names of system calls, one per line from number 0 on; `-` for an unused number.
const X64: &str = include_str!("syscalls/x64.txt");
const I386: &str = include_str!("syscalls/i386.txt");
const ARM64: &str = include_str!("syscalls/arm64.txt");

/// The rules.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) by_pod: bool,
    settings: &'a TetragonSource,
    entity: &'a Entity,
    columns: HashMap<&'a str, usize>,
    mining_ports: HashSet<u32>,
    system_calls: [Vec<&'static str>; 3],
}

impl<'a> Rules<'a> {
    pub(super) fn new(settings: &'a TetragonSource, entity: &'a Entity) -> Self {
        let columns = settings.events.iter().enumerate();
        Self {
            by_pod: settings.entity == EventEntity::Pod,
            settings,
            entity,
            columns: columns.map(|(column, name)| (name.as_str(), column)).collect(),
            mining_ports: settings.mining_ports.iter().map(|port| u32::from(*port)).collect(),
            system_calls: [X64, I386, ARM64].map(|names| names.lines().collect()),
        }
    }

    /// Returns the node of an event.
    pub(super) fn node<'n>(&'n self, name: &'n str) -> &'n str {
        match (name, &self.settings.node) {
            ("", Some(node)) => node,
            _ => self.entity.rename(name),
        }
    }

    /// Returns the number of the column of a named event.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.get(name).copied()
    }

    pub(super) fn is_connect(&self, name: &str) -> bool {
        self.settings.connect_functions.iter().any(|it| it == name)
    }

    pub(super) fn is_mining(&self, port: u32) -> bool {
        self.mining_ports.contains(&port)
    }

    /// Returns whether connections to an address count.
    pub(super) fn counts(&self, address: &str) -> bool {
        self.settings.loopback
            || !address.parse::<std::net::IpAddr>().is_ok_and(|address| match address {
                std::net::IpAddr::V4(address) => address.is_loopback(),
                std::net::IpAddr::V6(address) => {
                    address.is_loopback()
                        || address.to_ipv4_mapped().is_some_and(|it| it.is_loopback())
                }
            })
    }

    /// Returns whether a path is in a folder for temporary files; a relative path is below `cwd`.
    pub(super) fn is_temporary(&self, path: &str, cwd: &str) -> bool {
        let full = if path.starts_with('/') {
            None
        } else {
            Some(format!("{}/{}", cwd.trim_end_matches('/'), path.trim_start_matches("./")))
        };
        let path = full.as_deref().unwrap_or(path);
        self.settings.temporary_folders.iter().any(|folder| {
            let rest = path.strip_prefix(folder.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Returns the name of a system call.
    pub(super) fn system_call(&self, abi: &str, number: u64) -> Option<&'static str> {
        let [x64, i386, arm64] = &self.system_calls;
        let names = match abi {
            "i386" => i386,
            "arm64" => arm64,
            _ => x64,
        };
        let name = names.get(usize::try_from(number).ok()?).copied();
        name.filter(|name| *name != "-")
    }
}

/// Returns a hash of texts that is the same in all runs (FNV-1a, 64 bits).
pub(super) fn hash<const N: usize>(texts: [&[u8]; N]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for text in texts {
        // The separator is a byte that is in no text.
        for byte in text.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
