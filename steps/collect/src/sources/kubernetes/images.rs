//! The size of a container's image, from the lists of the nodes.
//!
//! A node names an image by tags and by digests, a pod as its author wrote it and, once it runs, by
//! a digest. Tags change, digests do not, so digests come first. A node lists only its 50 largest
//! images, so an image may be missing.

use std::collections::BTreeMap;

use super::objects::{Container, Node, Pod};

/// Sizes in bytes by name: those of one node, or of all nodes.
#[derive(Debug, Default)]
struct Sizes {
    by_digest: BTreeMap<String, u64>,
    by_name: BTreeMap<String, u64>,
}

/// The images of all nodes.
#[derive(Debug, Default)]
pub(super) struct Images {
    nodes: BTreeMap<String, Sizes>,
    all: Sizes,
}

impl Images {
    /// Takes the lists of nodes; of several sizes of an image, that of the first node by name counts.
    pub(super) fn of(nodes: &[Node]) -> Self {
        let mut order: Vec<&Node> = nodes.iter().collect();
        order.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let mut images = Self::default();
        for node in order {
            let own = images.nodes.entry(node.metadata.name.clone()).or_default();
            // An image with a size of 0 has no known size.
            for image in node.status.images.iter().filter(|image| image.size_bytes > 0) {
                for name in &image.names {
                    own.add(name, image.size_bytes);
                    images.all.add(name, image.size_bytes);
                }
            }
        }
        images
    }

    /// Returns the size of a container's image in bytes: on its node, or otherwise on any node.
    pub(super) fn size(&self, pod: &Pod, container: &Container) -> Option<f64> {
        let id = digest(pod.image_id(container)).or_else(|| digest(&container.image));
        let name = normal(&container.image);
        let own = self.nodes.get(&pod.spec.node_name);
        let by_digest = |sizes: &Sizes| sizes.by_digest.get(id?).copied();
        let by_name = |sizes: &Sizes| sizes.by_name.get(&name).copied();
        let size = own
            .and_then(by_digest)
            .or_else(|| by_digest(&self.all))
            .or_else(|| own.and_then(by_name))
            .or_else(|| by_name(&self.all))?;
        Some(size as f64)
    }
}

impl Sizes {
    fn add(&mut self, name: &str, bytes: u64) {
        let (map, key) = match digest(name) {
            Some(digest) => (&mut self.by_digest, digest.to_owned()),
            None => (&mut self.by_name, normal(name)),
        };
        map.entry(key).or_insert(bytes);
    }
}

/// Returns the digest at the end of a name or id: `sha256:...`. An id that is only a digest is that
/// of the image's configuration, which is in no list of names.
fn digest(name: &str) -> Option<&str> {
    name.rsplit_once('@').map(|(_, digest)| digest).filter(|digest| !digest.is_empty())
}

/// Returns a name with registry, path and tag: `nginx` is `docker.io/library/nginx:latest`.
fn normal(name: &str) -> String {
    let name = name.split('@').next().unwrap_or(name);
    let first = name.split('/').next().unwrap_or_default();
    let is_registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let path = match (is_registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { path } else { format!("{path}:latest") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images() -> Images {
        let node = |name: &str, images: serde_json::Value| -> Node {
            serde_json::from_value(
                json!({"metadata": {"name": name}, "status": {"images": images}}),
            )
            .unwrap()
        };
        Images::of(&[
            node(
                "n2",
                json!([{"names": ["docker.io/library/nginx@sha256:aa", "docker.io/library/nginx:1.25"], "sizeBytes": 70}]),
            ),
            node(
                "n1",
                json!([
                    {"names": ["docker.io/library/nginx@sha256:aa", "docker.io/library/nginx:1.25"], "sizeBytes": 60},
                    {"names": ["docker.io/library/nginx@sha256:bb", "docker.io/library/nginx:latest"], "sizeBytes": 65},
                    {"names": ["localhost:5000/a/b:2"], "sizeBytes": 5},
                    {"names": null, "sizeBytes": 9},
                    {"names": ["docker.io/library/none:latest"], "sizeBytes": 0},
                ]),
            ),
        ])
    }

    fn size(node: &str, image: &str, id: &str) -> Option<f64> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]},
            "status": {"containerStatuses": [{"name": "c", "imageID": id, "restartCount": 0}]},
        }))
        .unwrap();
        images().size(&pod, pod.main().unwrap())
    }

    #[test]
    fn the_digest_that_runs_decides_before_a_tag_and_the_own_node_before_others() {
        for (node, image, id, expected) in [
            ("n2", "nginx:1.25", "docker.io/library/nginx@sha256:aa", Some(70.0)),
            ("n1", "nginx:1.25", "docker-pullable://nginx@sha256:aa", Some(60.0)),
            // The tag was moved to another image: the running image is used.
            ("n1", "nginx", "docker.io/library/nginx@sha256:aa", Some(60.0)),
            ("n2", "nginx", "docker.io/library/nginx@sha256:bb", Some(65.0)),
            ("n3", "nginx:1.25", "", Some(60.0)),
            ("n2", "nginx", "", Some(65.0)),
            ("n1", "docker.io/library/nginx@sha256:bb", "", Some(65.0)),
            ("n1", "localhost:5000/a/b:2", "sha256:cc", Some(5.0)),
        ] {
            assert_eq!(size(node, image, id), expected, "{node} {image} {id}");
        }
    }

    #[test]
    fn an_image_that_no_list_holds_has_no_size() {
        for image in ["redis", "b:2", "a/b:2", "none"] {
            assert_eq!(size("n1", image, ""), None, "{image}");
        }
    }

    #[test]
    fn names_are_completed_as_container_runtimes_do() {
        for (name, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1", "docker.io/library/nginx:1"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("quay.io/a/b", "quay.io/a/b:latest"),
            ("localhost:5000/b", "localhost:5000/b:latest"),
            ("localhost/b:3@sha256:aa", "localhost/b:3"),
        ] {
            assert_eq!(normal(name), expected);
        }
    }
}
