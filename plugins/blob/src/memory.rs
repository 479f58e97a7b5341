//! The index as maps, for tests of what stands above it: an obvious model of what the SQL does.

use crate::index::{Bucket, Content, Index, KeyRange, Object, Version, VersionId, Versioning, Versions, Which};
use crate::name::Pairs;
use kodiak_plugin_api::Result;
use std::cell::RefCell;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct MemoryIndex {
    buckets: RefCell<BTreeMap<String, Bucket>>,
    heads: RefCell<BTreeMap<(i64, String), Object>>,
    archive: RefCell<BTreeMap<(i64, String, String), Object>>,
}

impl MemoryIndex {
    fn all(&self, bucket: i64) -> Vec<Object> {
        let heads = self.heads.borrow();
        let mut all: Vec<Object> = heads.iter().filter(|(k, _)| k.0 == bucket).map(|(_, o)| o.clone()).collect();
        all.extend(self.archive.borrow().iter().filter(|(k, _)| k.0 == bucket).map(|(_, o)| o.clone()));
        all.sort_by(|a, b| (&a.version.key, &b.version.stamp).cmp(&(&b.version.key, &a.version.stamp)));
        all
    }
}

impl Index for MemoryIndex {
    fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        Ok(self.buckets.borrow().get(name).cloned())
    }

    fn buckets(&self) -> Result<Vec<Bucket>> {
        Ok(self.buckets.borrow().values().cloned().collect())
    }

    fn insert_bucket(&self, bucket: &Bucket) -> Result<()> {
        assert!(self.buckets.borrow_mut().insert(bucket.name.clone(), bucket.clone()).is_none());
        Ok(())
    }

    fn set_versioning(&self, bucket: &Bucket, versioning: Versioning) -> Result<()> {
        self.buckets.borrow_mut().get_mut(&bucket.name).unwrap().versioning = versioning;
        Ok(())
    }

    fn delete_bucket(&self, bucket: &Bucket) -> Result<u64> {
        let versions = self.all(bucket.id).len() as u64;
        self.heads.borrow_mut().retain(|key, _| key.0 != bucket.id);
        self.archive.borrow_mut().retain(|key, _| key.0 != bucket.id);
        self.buckets.borrow_mut().remove(&bucket.name);
        Ok(versions)
    }

    fn has_objects(&self, bucket: i64) -> Result<bool> {
        Ok(self.heads.borrow().keys().any(|key| key.0 == bucket))
    }

    fn has_versions(&self, bucket: i64) -> Result<bool> {
        Ok(self.archive.borrow().keys().any(|key| key.0 == bucket)
            || self.heads.borrow().iter().any(|(key, object)| key.0 == bucket && !object.version.is_null))
    }

    fn head(&self, bucket: i64, key: &str) -> Result<Option<Version>> {
        Ok(self.heads.borrow().get(&(bucket, key.to_owned())).map(|object| object.version.clone()))
    }

    fn object(&self, bucket: i64, key: &str, version: Option<&VersionId>) -> Result<Option<Object>> {
        let Some(version) = version else { return Ok(self.heads.borrow().get(&(bucket, key.to_owned())).cloned()) };
        Ok(self.all(bucket).into_iter().find(|object| object.version.key == key && object.version.is(version)))
    }

    fn insert_head(&self, bucket: i64, object: &Object) -> Result<()> {
        let key = (bucket, object.version.key.clone());
        assert!(self.heads.borrow_mut().insert(key, object.clone()).is_none(), "the key has a head");
        Ok(())
    }

    fn replace_head(&self, bucket: i64, object: &Object) -> Result<()> {
        let key = (bucket, object.version.key.clone());
        let old = self.heads.borrow_mut().insert(key, object.clone()).expect("the key has a head");
        assert!(old.version.stamp < object.version.stamp);
        Ok(())
    }

    fn delete_heads(&self, bucket: i64, range: &KeyRange) -> Result<u64> {
        let mut heads = self.heads.borrow_mut();
        let before = heads.len();
        heads.retain(|place, _| place.0 != bucket || !range.contains(&place.1));
        Ok((before - heads.len()) as u64)
    }

    fn delete_head(&self, bucket: i64, key: &str) -> Result<()> {
        self.heads.borrow_mut().remove(&(bucket, key.to_owned())).expect("the key has a head");
        Ok(())
    }

    fn archive_head(&self, bucket: i64, key: &str) -> Result<()> {
        let mut old = self.heads.borrow()[&(bucket, key.to_owned())].clone();
        old.version.is_latest = false;
        let place = (bucket, key.to_owned(), old.version.stamp.clone());
        assert!(self.archive.borrow_mut().insert(place, old).is_none());
        Ok(())
    }

    fn promote(&self, bucket: i64, key: &str) -> Result<()> {
        let mut archive = self.archive.borrow_mut();
        let newest = archive.keys().filter(|place| place.0 == bucket && place.1 == key).max().cloned();
        let Some(place) = newest else { return Ok(()) };
        let mut object = archive.remove(&place).unwrap();
        object.version.is_latest = true;
        self.insert_head(bucket, &object)
    }

    fn delete_archived(&self, bucket: i64, key: &str, version: &VersionId) -> Result<u64> {
        let mut archive = self.archive.borrow_mut();
        let before = archive.len();
        archive.retain(|place, object| place.0 != bucket || place.1 != key || !object.version.is(version));
        Ok((before - archive.len()) as u64)
    }

    fn set_tags(&self, bucket: i64, version: &Version, tags: &Pairs) -> Result<()> {
        let (key, stamp) = (version.key.clone(), version.stamp.clone());
        if version.is_latest {
            self.heads.borrow_mut().get_mut(&(bucket, key)).unwrap().tags = tags.clone();
        } else {
            self.archive.borrow_mut().get_mut(&(bucket, key, stamp)).unwrap().tags = tags.clone();
        }
        Ok(())
    }

    fn list(&self, bucket: i64, range: &KeyRange, which: Which, limit: Option<u64>) -> Result<Versions> {
        let shown = |version: &Version| match which {
            Which::Latest => version.is_latest && !version.is_delete_marker,
            Which::All => true,
        };
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let versions = self.all(bucket).into_iter().map(|object| object.version);
        let versions: Vec<_> = versions.filter(|v| range.contains(&v.key) && shown(v)).take(limit).map(Ok).collect();
        Ok(Box::new(versions.into_iter()))
    }

    fn payloads(&self) -> Result<Box<dyn Iterator<Item = Result<String>>>> {
        let (heads, archive) = (self.heads.borrow(), self.archive.borrow());
        let file = |object: &Object| match &object.content {
            Content::File { payload, .. } => Some(Ok(payload.clone())),
            _ => None,
        };
        let found: Vec<_> = heads.values().chain(archive.values()).filter_map(file).collect();
        Ok(Box::new(found.into_iter()))
    }

    fn delete_strays(&self) -> Result<u64> {
        // Transactions do not meet here.
        Ok(0)
    }
}
