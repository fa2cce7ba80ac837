//! A server and the settings of an extension in one mapping.
//!
//! `#[serde(flatten)]` could read this too, but it copies the values first and loses their line
//! numbers for errors. Here each value is read in place: the server's fields are taken out of the
//! mapping while the extension's settings are read from it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use contract::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess, Visitor,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::HttpServer;
use crate::deserialize::closest;
use crate::problem::Problem;
use crate::secret::Secret;
use crate::url::HttpUrl;

/// An HTTP server and the settings of the extension that uses it, in one mapping.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Http<T> {
    /// The server.
    #[serde(flatten)]
    pub server: HttpServer,
    /// Settings of the extension.
    #[serde(flatten)]
    pub own: T,
}

/// Settings of an extension that uses an HTTP server, with the server's defaults.
pub trait HttpSettings {
    /// Name of the extension in a document, such as `telegram`.
    const NAME: &'static str;
    /// Default URL, if there is one.
    const URL: Option<&'static str> = None;
    /// Deadline of one request.
    const TIMEOUT: Span;
    /// Number of retries.
    const RETRIES: u8;

    /// Checks rules on the extension's own fields that types do not enforce.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }

    /// Returns the secrets among the extension's own fields, each with its field.
    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        Vec::new()
    }

    /// Returns the files among the extension's own fields, which must exist.
    fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        Vec::new()
    }

    /// Returns the permissions that its account needs in a cluster: resource of the core API, and
    /// verb.
    fn permissions(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

impl<T: HttpSettings> Http<T> {
    /// Makes a server with the extension's defaults.
    pub fn new(url: HttpUrl, own: T) -> Self {
        let server = HttpServer {
            url,
            timeout: T::TIMEOUT,
            retries: T::RETRIES,
            auth: None,
            tls: super::Tls::default(),
            headers: std::collections::BTreeMap::new(),
            proxy: None,
            in_cluster: None,
        };
        Self { server, own }
    }
}

impl<'de, T: Deserialize<'de> + HttpSettings> Deserialize<'de> for Http<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HttpVisitor(PhantomData))
    }
}

struct HttpVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + HttpSettings> Visitor<'de> for HttpVisitor<T> {
    type Value = Http<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping with fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Http<T>, A::Error> {
        let mut server = HttpServer {
            // Placeholder until the field is read.
            url: "http://none".parse().map_err(A::Error::custom)?,
            timeout: T::TIMEOUT,
            retries: T::RETRIES,
            auth: None,
            tls: super::Tls::default(),
            headers: std::collections::BTreeMap::new(),
            proxy: None,
            in_cluster: None,
        };
        let mut has_url = false;
        let rest = Rest { map, server: &mut server, has_url: &mut has_url, fields: &[] };
        let own = T::deserialize(rest)?;
        if !has_url {
            let url = T::URL.ok_or_else(|| A::Error::missing_field("url"))?;
            server.url = url.parse().map_err(A::Error::custom)?;
        }
        Ok(Http { server, own })
    }
}

/// The fields of a mapping other than the server's, which are passed to `server`.
struct Rest<'a, A> {
    map: A,
    server: &'a mut HttpServer,
    has_url: &'a mut bool,
    /// Fields of the extension.
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(Self { fields, ..self })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> Rest<'_, A> {
    fn read_server_field(&mut self, name: &str) -> Result<(), A::Error> {
        let (map, server) = (&mut self.map, &mut *self.server);
        match name {
            "url" => {
                server.url = map.next_value()?;
                *self.has_url = true;
            }
            "timeout" => server.timeout = map.next_value()?,
            "retries" => server.retries = map.next_value()?,
            "auth" => server.auth = map.next_value()?,
            "tls" => server.tls = map.next_value()?,
            "headers" => server.headers = map.next_value()?,
            "proxy" => server.proxy = map.next_value()?,
            "in_cluster" => server.in_cluster = map.next_value()?,
            unknown => return Err(A::Error::unknown_field(unknown, HttpServer::FIELDS)),
        }
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        mut seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(Key { seed, fields: self.fields })? {
                None => return Ok(None),
                Some(Owner::Extension(key)) => return Ok(Some(key)),
                Some(Owner::Server(name, unused)) => {
                    seed = unused;
                    self.read_server_field(&name)?;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Owner of a field.
enum Owner<S, K> {
    /// A field of the server, by name; otherwise the seed is returned for the extension's next key.
    Server(String, S),
    /// The extension's.
    Extension(K),
}

struct Key<S> {
    seed: S,
    fields: &'static [&'static str],
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<S> {
    type Value = Owner<S, S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let name = String::deserialize(deserializer)?;
        let name_str = name.as_str();
        if HttpServer::FIELDS.contains(&name_str) {
            return Ok(Owner::Server(name, self.seed));
        }
        let is_own = self.fields.contains(&name_str);
        let own_is_meant = closest(&name, self.fields.iter().copied()).is_some();
        let server_is_meant = closest(&name, HttpServer::FIELDS.iter().copied()).is_some();
        if !is_own && !own_is_meant && (server_is_meant || self.fields.is_empty()) {
            return Err(D::Error::unknown_field(&name, HttpServer::FIELDS));
        }
        self.seed.deserialize(name.into_deserializer()).map(Owner::Extension)
    }
}

impl<T: JsonSchema + HttpSettings> JsonSchema for Http<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("Http<{}>", T::schema_id()).into()
    }

    /// The properties of both, the server's first, with the extension's defaults.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut server = HttpServer::json_schema(generator);
        let own = T::json_schema(generator);
        if let Some(Value::Object(properties)) = server.get_mut("properties") {
            let defaults: [(&str, Option<Value>); 3] = [
                ("url", T::URL.map(Into::into)),
                ("timeout", Some(T::TIMEOUT.to_string().into())),
                ("retries", Some(T::RETRIES.into())),
            ];
            for (name, default) in defaults {
                if let (Some(property), Some(default)) = (properties.get_mut(name), default) {
                    property["default"] = default;
                }
            }
            let added = own.get("properties").and_then(Value::as_object);
            properties.extend(added.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        }
        let mut required: Vec<Value> =
            own.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        if T::URL.is_none() {
            required.insert(0, "url".into());
        }
        server.insert("required".to_owned(), required.into());
        if let Some(description) = own.get("description") {
            server.insert("description".to_owned(), description.clone());
        }
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Auth, InCluster, Proxy};
    use crate::node;

    /// Settings of a test.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Own {
        #[serde(default)]
        parallel: u8,
    }

    impl HttpSettings for Own {
        const NAME: &'static str = "own";
        const TIMEOUT: Span = Span::from_seconds(30);
        const RETRIES: u8 = 5;
    }

    fn read(text: &str) -> Result<Http<Own>, String> {
        let node = node::parse("x.yaml", text).unwrap();
        Http::deserialize(&node).map_err(|misfit| {
            let place = misfit.place.map(|place| place.to_string()).unwrap_or_default();
            format!("{place} {}: {} {:?}", misfit.path.join("."), misfit.message, misfit.hint)
        })
    }

    #[test]
    fn server_and_extension_fields_stand_side_by_side() {
        let http = read(
            "parallel: 3\nurl: http://h:9090?x=y\nauth: {bearer_token: {file: t}}\n\
             headers: {X-Scope-OrgID: 1}\nproxy: none\nin_cluster: {namespace: monitoring}\n",
        )
        .unwrap();
        assert_eq!(http.own, Own { parallel: 3 });
        assert_eq!((http.server.timeout, http.server.retries), (Span::from_seconds(30), 5));
        assert_eq!(http.server.auth, Some(Auth::BearerToken(Secret::File("t".into()))));
        assert_eq!(http.server.headers["X-Scope-OrgID"], "1");
        assert_eq!(http.server.proxy, Some(Proxy::None));
        let in_cluster = InCluster {
            namespace: "monitoring".to_owned(),
            pod_labels: std::collections::BTreeMap::new(),
            port: None,
        };
        assert_eq!(http.server.in_cluster, Some(in_cluster));
        let written = serde_json::to_string(&http).unwrap();
        assert_eq!(read(&written).unwrap(), http);
    }

    #[test]
    fn wrong_field_is_named_with_its_place_and_its_likely_meaning() {
        for (text, expected) in [
            ("url: http://h\ntimeout: soon\n", "x.yaml:2:10 timeout: "),
            ("url: http://u:hunter2@h\n", "x.yaml:1:6 url: must not hold a user or a password"),
            ("url: http://h\nparalel: 3\n", "did you mean `parallel`?"),
            ("url: http://h\ntimeuot: 3s\n", "did you mean `timeout`?"),
            ("url: http://h\ntimeuot: 3s\n", "x.yaml:2:1 "),
            ("url: http://h\nparallel: many\n", "x.yaml:2:11 parallel: "),
            ("parallel: 1\n", "field `url` is missing"),
            ("url: http://h\nauth: {bearer_token: hunter2}\n", "auth.bearer_token: a document"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}: {expected}");
        }
    }

    #[test]
    fn schema_holds_the_properties_of_both_with_their_defaults() {
        let schema = schemars::schema_for!(Http<Own>).to_value();
        assert_eq!(schema["properties"]["timeout"]["default"], "30s");
        assert_eq!(schema["properties"]["retries"]["default"], 5);
        assert!(schema["properties"]["parallel"].is_object());
        assert_eq!(schema["required"], serde_json::json!(["url"]));
        assert_eq!(schema["additionalProperties"], false);
    }
}
