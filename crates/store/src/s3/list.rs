//! Lists the bucket, page by page.

use aws_sdk_s3::types::Object;
use contract::StepError;

use super::Bucket;
use crate::key;
use crate::object::Listed;

/// Keys per listing request, the most that the protocol allows.
const PAGE: usize = 1000;

impl Bucket {
    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StepError> {
        let full = format!("{}{prefix}", self.prefix);
        let request = self.request("list", "s3:ListBucket", &full);
        let mut keys = Vec::new();
        let mut cursor = after.map(|after| format!("{}{after}", self.prefix));
        while keys.len() < limit {
            let wanted = (limit - keys.len()).min(PAGE);
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(&full)
                .set_start_after(cursor.take())
                .max_keys(i32::try_from(wanted).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|e| request.error(&e))?;
            let last = page.contents().last().and_then(|object| object.key());
            cursor = last.map(str::to_owned);
            keys.extend(page.contents().iter().filter_map(|object| self.listed(object)));
            if cursor.is_none() || !page.is_truncated().unwrap_or(false) {
                break;
            }
        }
        Ok(keys)
    }

    /// Returns the listing entry of an object; `None` for an object of another program, whose key
    /// is not one of the store.
    fn listed(&self, object: &Object) -> Option<Listed> {
        let key = object.key()?.strip_prefix(&self.prefix)?;
        key::check(key).ok()?;
        Some(Listed { key: key.to_owned(), etag: object.e_tag().map(str::to_owned) })
    }

    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, StepError> {
        let full = format!("{}{folder}", self.prefix);
        let request = self.request("list", "s3:ListBucket", &full);
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let list =
                self.client.list_objects_v2().bucket(&self.name).prefix(&full).delimiter("/");
            let page = list.set_continuation_token(token.take()).send().await;
            let page = page.map_err(|e| request.error(&e))?;
            let found = page.common_prefixes().iter().filter_map(|common| common.prefix());
            let found = found.filter_map(|name| name.strip_prefix(&full)?.strip_suffix('/'));
            names.extend(found.filter(|name| key::check_part(name).is_ok()).map(str::to_owned));
            match page.next_continuation_token() {
                Some(next) if page.is_truncated().unwrap_or(false) => token = Some(next.to_owned()),
                _ => break,
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}
