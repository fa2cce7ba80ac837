//! The channel `email`: recipients of an SMTP server.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{Destination, Extension, FileUse};
use crate::http::{InCluster, Tls};
use crate::problem::{Problem, require};
use crate::secret::Secret;

/// E-mail through an SMTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChannel {
    /// Name of the SMTP server.
    pub host: String,
    /// Port of the server. The default depends on `security`: 587, 465 or 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub security: SmtpSecurity,
    /// User name. Without it there is no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// Deadline of each exchange with the server, greater than 0s.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Certificates; those of the system by default.
    #[serde(default, skip_serializing_if = "Tls::is_default")]
    pub tls: Tls,
    /// The pods of the SMTP server, for the network policy of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

fn timeout() -> Span {
    super::TIMEOUT
}

impl EmailChannel {
    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            SmtpSecurity::Starttls => 587,
            SmtpSecurity::Tls => 465,
            SmtpSecurity::None => 25,
        })
    }
}

impl Extension for EmailChannel {
    fn name(&self) -> &'static str {
        "email"
    }

    fn check(&self) -> Result<(), Problem> {
        require(!self.host.is_empty(), "host", || "is empty".to_owned())?;
        require(self.timeout > Span::ZERO, "timeout", || "must be greater than 0s".to_owned())?;
        require(!self.to.is_empty(), "to", || "is empty: name at least one recipient".to_owned())?;
        for (field, address) in
            self.to.iter().map(|address| ("to", address)).chain([("from", &self.from)])
        {
            require(address.contains('@'), field, || format!("`{address}` is not an address"))?;
        }
        require(self.username.is_some() == self.password.is_some(), "username", || {
            "set both `username` and `password`, or neither".to_owned()
        })?;
        let is_open = self.security == SmtpSecurity::None;
        require(!(is_open && self.username.is_some()), "security", || {
            "`none` would send the password unencrypted: use `starttls` or `tls`".to_owned()
        })?;
        self.in_cluster.as_ref().map_or(Ok(()), InCluster::check)
    }

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        self.password.iter_mut().map(|password| ("password", password)).collect()
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        self.tls.files_mut().into_iter().map(|path| (FileUse::Read, path)).collect()
    }

    fn destinations(&self) -> Vec<Destination> {
        let in_cluster = self.in_cluster.clone();
        vec![Destination { host: self.host.clone(), port: self.port(), in_cluster }]
    }
}

/// How the connection to an SMTP server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmtpSecurity {
    /// STARTTLS: the connection starts unencrypted and is encrypted before any data is sent; a
    /// server without it is refused.
    #[default]
    Starttls,
    /// TLS from the start of the connection.
    Tls,
    /// No encryption; a login is then not allowed.
    None,
}
