//! Stores: objects behind one trait, and the registry, scores and states in them.
//!
//! A store is named by a URL ([`open`]). Data that several processes may change at the same time is
//! one object, which is changed by compare-and-set ([`Condition`]). All other objects are written
//! once.

pub mod alias;
pub mod catalog;
pub mod check;
pub mod folder;
pub mod garbage;
pub mod key;
pub mod object;
mod parts;
pub mod registry;
pub mod s3;
pub mod scores;
pub mod shard;
pub mod state;
pub mod watermark;
pub mod whole;

pub use alias::{AliasRecord, Change};
pub use catalog::Catalog;
pub use folder::FolderStore;
pub use object::{Condition, Listed, Object, ObjectStore, Put, open};
pub use registry::{BundleFiles, Registry};
pub use s3::{S3Settings, S3Store};
pub use scores::Follower;
pub use shard::open_shard;
pub use state::Stored;
pub use watermark::Watermark;
pub use whole::Whole;
