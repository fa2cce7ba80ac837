//! Connection settings of a `PostgreSQL` server, shared by source and sink.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{Destination, FileUse};
use crate::http::InCluster;
use crate::problem::{Problem, problem, require};
use crate::secret::Secret;

const PORT: u16 = 5432;

/// A database on a `PostgreSQL` server, or on a server with its protocol such as `TimescaleDB`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresServer {
    /// URL with user, host and database: `postgresql://USER@HOST:5432/DATABASE`, or for a Unix
    /// socket `postgresql://USER@/DATABASE?host=/run/postgresql&port=5432`. It must not contain a
    /// password.
    pub url: String,
    /// The password; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether the connection is encrypted and the server's certificate verified.
    #[serde(default)]
    pub tls: PostgresTls,
    /// File with the CA certificates to trust (PEM) instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Name that the server's certificate must have, if it is not the host of the URL, for example
    /// with a port-forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Deadline for connecting, and for each statement; greater than 0s.
    #[serde(default = "thirty_seconds")]
    pub timeout: Span,
    /// The pods that accept the connection, for the network policy of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// A table that rows are loaded into, with a row for each entity and time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PostgresTable<'a> {
    /// The server and how to connect to it.
    pub server: &'a PostgresServer,
    /// The schema, which must exist.
    pub schema: &'a str,
    /// The table; `None` for the pipeline's name with `-` replaced by `_`.
    pub table: Option<&'a str>,
    /// Whether each entity gets a view of its rows.
    pub views: bool,
    /// Days that are older than this, counted from the newest row, are dropped; `None` keeps all.
    pub retention: Option<Span>,
}

/// Whether a connection to `PostgreSQL` is encrypted and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PostgresTls {
    /// `verify_full`, but `off` for a Unix socket and for addresses of this machine.
    #[default]
    Auto,
    /// Encrypted. The certificate must be signed by a trusted CA and must name the host, as with
    /// `sslmode=verify-full` of libpq.
    VerifyFull,
    /// Neither encrypted nor verified.
    Off,
}

fn thirty_seconds() -> Span {
    Span::from_seconds(30)
}

impl PostgresServer {
    pub(crate) fn check(&self, path: &str) -> Result<(), Problem> {
        let field = format!("{path}.url");
        let wrong = |what: &str| {
            problem(&field, what)
                .hint("write it as in postgresql://lynceus@db.monitoring:5432/metrics")
        };
        let schemes = ["postgresql://", "postgres://"];
        let rest = schemes.iter().find_map(|scheme| self.url.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| wrong("does not begin with postgresql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            return Err(problem(&field, "must not contain a password").hint(
                "name a file or an environment variable, as in password: {file: secrets/password}",
            ));
        }
        if user.is_empty() || database.is_empty() {
            return Err(wrong("does not name both a user and a database"));
        }
        if host.contains(',') {
            return Err(wrong("names more than one host"));
        }
        let is_socket = query.starts_with("host=")
            && query.split('&').all(|part| part.starts_with("host=") || part.starts_with("port="));
        match (is_socket, query, host) {
            (false, "", "") => return Err(wrong("names no host")),
            (false, "", _) | (true, _, "") => {}
            _ => return Err(wrong("carries settings other than those of a unix socket")),
        }
        require(self.timeout > Span::ZERO, &format!("{path}.timeout"), || {
            "must be greater than 0s".to_owned()
        })
    }

    /// Returns its password with its field.
    pub(crate) fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        self.password.iter_mut().map(|secret| ("server.password", secret)).collect()
    }

    /// Returns the files it names, apart from that of the password.
    pub(crate) fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        self.ca_file.iter_mut().map(|path| (FileUse::Read, path)).collect()
    }

    /// Returns the network destinations of a connection.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(PORT)),
            _ => (host, PORT),
        };
        let name = name.trim_matches(['[', ']']);
        let to = (!name.is_empty()).then(|| Destination {
            host: name.to_owned(),
            port,
            in_cluster: self.in_cluster.clone(),
        });
        to.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> PostgresServer {
        PostgresServer {
            url: String::new(),
            password: None,
            tls: PostgresTls::Auto,
            ca_file: None,
            server_name: None,
            timeout: thirty_seconds(),
            in_cluster: None,
        }
    }

    fn checked(url: &str) -> Result<(), String> {
        let server = PostgresServer { url: url.to_owned(), ..server() };
        server.check("x").map_err(|problem| problem.message)
    }

    #[test]
    fn a_network_policy_opens_the_way_to_the_server() {
        let to = |url: &str| {
            let server = PostgresServer { url: url.to_owned(), ..server() };
            let mut all = server.destinations().into_iter();
            all.next().map(|it| format!("{} {}", it.host, it.port))
        };
        assert_eq!(to("postgresql://u@db.monitoring/d").as_deref(), Some("db.monitoring 5432"));
        assert_eq!(to("postgresql://u@[::1]:5433/d").as_deref(), Some("::1 5433"));
        assert_eq!(to("postgresql://u@/d?host=/run"), None);
    }

    #[test]
    fn a_url_names_user_host_and_database_and_no_password() {
        for url in [
            "postgresql://lynceus@db.monitoring:5432/metrics",
            "postgres://u@[::1]/d",
            "postgresql://u@/d?host=/run/postgresql",
            "postgresql://u@/d?host=/run/postgresql&port=5433",
        ] {
            assert_eq!(checked(url), Ok(()), "{url}");
        }
        for (url, expected) in [
            ("http://u@h/d", "begin with"),
            ("postgresql://u:hunter2@h/d", "password"),
            ("postgresql://h/d", "both a user and a database"),
            ("postgresql://u@h", "both a user and a database"),
            ("postgresql://u@/d", "no host"),
            ("postgresql://u@h/d?sslmode=disable", "other than"),
            ("postgresql://u@h/d?password=hunter2", "other than"),
            ("postgresql://u@/d?host=/x&password=hunter2", "other than"),
            ("postgresql://u@h,i/d", "more than one host"),
        ] {
            let message = checked(url).unwrap_err();
            assert!(message.contains(expected) && !message.contains("hunter2"), "{message}");
        }
    }
}
