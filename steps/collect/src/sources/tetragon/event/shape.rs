//! The fields of the export that are read; all others are skipped.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// A text that is borrowed from the line if it has no escape sequence.
#[derive(Debug, Default, Clone)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// An integer, written as a number or as a text; a negative one is larger than all others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Integer(pub(super) u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Integer;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an integer")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Integer, E> {
                Ok(Integer(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(u64::try_from(number).unwrap_or(u64::MAX)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Integer, E> {
                let number = text.parse::<i128>().map_err(E::custom)?;
                Ok(Integer(u64::try_from(number).unwrap_or(u64::MAX)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) time: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) node_name: Text<'a>,
    #[serde(borrow)]
    pub(super) process_exec: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_exit: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_kprobe: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_tracepoint: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_lsm: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_uprobe: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_usdt: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_loader: Option<Call<'a>>,
    #[serde(borrow)]
    pub(super) process_throttle: Option<Throttle<'a>>,
    pub(super) rate_limit_info: Option<RateLimit>,
    pub(super) aggregation_info: Option<Aggregation>,
    /// The line itself, if a container runtime or Fluent Bit has wrapped it.
    #[serde(borrow)]
    pub(super) log: Option<Text<'a>>,
}

/// Fields of events with a process; each kind has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call<'a> {
    #[serde(borrow)]
    pub(super) process: Process<'a>,
    #[serde(borrow)]
    pub(super) function_name: Text<'a>,
    #[serde(borrow)]
    pub(super) subsys: Text<'a>,
    #[serde(borrow)]
    pub(super) event: Text<'a>,
    #[serde(borrow)]
    pub(super) args: Vec<Argument<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process<'a> {
    #[serde(borrow)]
    pub(super) exec_id: Text<'a>,
    #[serde(borrow)]
    pub(super) binary: Text<'a>,
    #[serde(borrow)]
    pub(super) arguments: Text<'a>,
    #[serde(borrow)]
    pub(super) cwd: Text<'a>,
    #[serde(borrow)]
    pub(super) flags: Text<'a>,
    pub(super) in_init_tree: Option<bool>,
    #[serde(borrow)]
    pub(super) pod: Option<Pod<'a>>,
    pub(super) binary_properties: Option<BinaryProperties>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod<'a> {
    #[serde(borrow)]
    pub(super) namespace: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BinaryProperties {
    pub(super) file: Option<FileProperties>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileProperties {
    pub(super) inode: Option<Inode>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Inode {
    pub(super) links: Option<Integer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Argument<'a> {
    #[serde(borrow)]
    pub(super) sock_arg: Option<Socket<'a>>,
    #[serde(borrow)]
    pub(super) skb_arg: Option<Socket<'a>>,
    #[serde(borrow)]
    pub(super) sockaddr_arg: Option<SocketAddress<'a>>,
    #[serde(borrow)]
    pub(super) syscall_id: Option<SystemCall<'a>>,
    pub(super) long_arg: Option<Integer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Socket<'a> {
    #[serde(borrow)]
    pub(super) daddr: Text<'a>,
    pub(super) dport: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SocketAddress<'a> {
    #[serde(borrow)]
    pub(super) family: Text<'a>,
    #[serde(borrow)]
    pub(super) addr: Text<'a>,
    pub(super) port: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SystemCall<'a> {
    pub(super) id: Integer,
    #[serde(borrow)]
    pub(super) abi: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Throttle<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) cgroup: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimit {
    pub(super) number_of_dropped_process_events: Integer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Aggregation {
    pub(super) count: Integer,
}
