//! The calls of the binary repository that concern whole objects. Uploading is in
//! [`crate::transfer`].

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, RANGE,
};
use http::{HeaderMap, HeaderName, StatusCode};
use model::{Digest, Encoding, Glob, MediaInfo, ObjectName, UploadId};
use reqwest::{RequestBuilder, Response};
use wire::route;
use wire::v1::{ObjectBody, ObjectLine, StoredBody, UploadBody, UploadRequest};

use crate::address::{Query, fill};
use crate::connection::{Connection, PATIENCE};
use crate::error::{ClientError, ProtocolFault};
use crate::incoming::Incoming;
use crate::lines::{Lines, Pause};

/// The calls of the binary repository; [`Connection::objects`]. Errors are those of [`ClientError`].
#[derive(Debug, Clone, Copy)]
pub struct Objects<'a>(&'a Connection);

impl<'a> Objects<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Objects<'a> {
        Objects(connection)
    }

    /// Everything about an object but its bytes.
    ///
    /// # Errors
    /// `not-found` if nothing has the name and nothing is being uploaded under it.
    pub async fn stat(&self, name: &ObjectName) -> Result<ObjectBody, ClientError> {
        let address = fill(&route::OBJECT_STAT, &[name.as_str()]);
        self.0.json(self.0.request(&route::OBJECT_STAT, &address)).await
    }

    /// The objects whose names match, sorted by name; all without a glob.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, glob: Option<&Glob>) -> Result<Lines<ObjectLine>, ClientError> {
        let address = Query::of(fill(&route::OBJECT_LIST, &[])).with("glob", glob).finish();
        self.0.lines(self.0.request(&route::OBJECT_LIST, &address), Pause::Usual).await
    }

    /// Removes an object.
    ///
    /// # Errors
    /// `in-use` while an envelope pins it; `not-found`.
    pub async fn delete(&self, name: &ObjectName) -> Result<(), ClientError> {
        let address = fill(&route::OBJECT_DELETE, &[name.as_str()]);
        self.0.done(self.0.request(&route::OBJECT_DELETE, &address)).await
    }

    /// The bytes of an object from byte `from` on. With `expect` they are those of the object with this
    /// digest or none, so that a resumed download never mixes two objects; what is between the ETag and
    /// the bytes is for the reader to verify, by hashing.
    ///
    /// # Errors
    /// [`ClientError::OtherObject`] if the name holds another object than the expected; `not-found`.
    pub async fn open(
        &self,
        name: &ObjectName,
        from: u64,
        expect: Option<&Digest>,
    ) -> Result<Incoming, ClientError> {
        let address = fill(&route::OBJECT_GET, &[name.as_str()]);
        let mut request = self.0.request(&route::OBJECT_GET, &address);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(digest) = expect {
            request = request.header(IF_MATCH, format!("\"{digest}\""));
        }
        let response = self.get(request, name, expect).await?;
        let head = Head::read(response.status(), response.headers(), from)
            .map_err(|fault| self.0.fault(fault))?;
        if let Some(expected) = expect
            && *expected != head.digest
        {
            let fault = ProtocolFault::OtherEntity { expected: *expected, received: head.digest };
            return Err(self.0.fault(fault));
        }
        let Head { media, digest, size } = head;
        Ok(Incoming::new(self.0.clone(), response, media, digest, size, from))
    }

    /// Begins an upload, or finds the one that was begun, and says what is missing of it.
    ///
    /// # Errors
    /// `name-taken` if the name holds other content.
    pub async fn begin_upload(&self, request: &UploadRequest) -> Result<UploadBody, ClientError> {
        let address = fill(&route::UPLOAD_BEGIN, &[]);
        self.0.json(self.0.request_with(&route::UPLOAD_BEGIN, &address, request)).await
    }

    /// Lets the server verify the whole and take the name. It reads all of the object once.
    ///
    /// # Errors
    /// `incomplete`, `digest-mismatch`, `name-taken`.
    pub async fn complete_upload(
        &self,
        upload: UploadId,
        size: u64,
    ) -> Result<StoredBody, ClientError> {
        let address = fill(&route::UPLOAD_COMPLETE, &[&upload.to_string()]);
        let request = self.0.request(&route::UPLOAD_COMPLETE, &address);
        let patience = PATIENCE.saturating_add(std::time::Duration::from_secs(size / SLOWEST_DISK));
        self.0.json_within(request, patience).await
    }

    /// Sends a GET whose precondition may fail.
    async fn get(
        &self,
        request: RequestBuilder,
        name: &ObjectName,
        expect: Option<&Digest>,
    ) -> Result<Response, ClientError> {
        let failed = |status: StatusCode| status == StatusCode::PRECONDITION_FAILED;
        match (self.0.send(request, PATIENCE).await, expect) {
            (Err(ClientError::Refused { status, .. }), Some(expected)) if failed(status) => {
                Err(ClientError::OtherObject { name: name.clone(), expected: *expected })
            }
            (
                Err(ClientError::Protocol { source: ProtocolFault::NoReason { status }, .. }),
                Some(expected),
            ) if failed(status) => {
                Err(ClientError::OtherObject { name: name.clone(), expected: *expected })
            }
            (answer, _) => answer,
        }
    }
}

/// What the head of an answer says about the object.
struct Head {
    media: MediaInfo,
    digest: Digest,
    size: u64,
}

impl Head {
    fn read(status: StatusCode, headers: &HeaderMap, from: u64) -> Result<Head, ProtocolFault> {
        let text = |name: &HeaderName, field: &'static str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or(ProtocolFault::Header { field })
        };
        let length: u64 = text(&CONTENT_LENGTH, "content-length")?
            .parse()
            .map_err(|_| ProtocolFault::Header { field: "content-length" })?;
        let size = match status {
            StatusCode::OK if from == 0 => length,
            StatusCode::PARTIAL_CONTENT if from > 0 => {
                let range = text(&CONTENT_RANGE, "content-range")?;
                range_to_end(range, from)
                    .filter(|size| size - from == length)
                    .ok_or(ProtocolFault::Header { field: "content-range" })?
            }
            status => return Err(ProtocolFault::Status { status }),
        };
        let digest = entity(text(&ETAG, "etag")?).ok_or(ProtocolFault::Header { field: "etag" })?;
        let media_type = text(&CONTENT_TYPE, "content-type")?
            .parse()
            .map_err(|_| ProtocolFault::Header { field: "content-type" })?;
        let encoding = match headers.contains_key(CONTENT_ENCODING) {
            true => Encoding::parse_stated(text(&CONTENT_ENCODING, "content-encoding")?)
                .map_err(|_| ProtocolFault::Header { field: "content-encoding" })?,
            false => None,
        };
        Ok(Head { media: MediaInfo { media_type, encoding }, digest, size })
    }
}

/// The digest in a strong ETag.
fn entity(tag: &str) -> Option<Digest> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// The size of the whole in `bytes FROM-LAST/SIZE`, if the range is all that is left from `from` on.
fn range_to_end(field: &str, from: u64) -> Option<u64> {
    let (range, size) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first == from && from < size && last == size - 1).then_some(size)
}

/// Bytes a second that a server reads and hashes at the very least.
const SLOWEST_DISK: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_range_from_where_was_asked_to_the_very_end_will_do() {
        assert_eq!(range_to_end("bytes 5-9/10", 5), Some(10));
        for bad in ["bytes 4-9/10", "bytes 5-8/10", "bytes 5-9/*", "5-9/10", "bytes 10-9/10", ""] {
            assert_eq!(range_to_end(bad, 5), None, "{bad}");
        }
    }

    #[test]
    fn only_a_strong_tag_with_a_digest_names_an_object() {
        let digest = Digest::of(b"x");
        assert_eq!(entity(&format!("\"{digest}\"")), Some(digest));
        for bad in [format!("W/\"{digest}\""), digest.to_string(), "\"\"".into(), "\"".into()] {
            assert_eq!(entity(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_fields_never_panic(field in "\\PC{0,40}", numbers: (u64, u64, u64), from: u64) {
            let _ = range_to_end(&field, from);
            let _ = entity(&field);
            let (first, last, size) = numbers;
            let _ = range_to_end(&format!("bytes {first}-{last}/{size}"), from);
        }
    }
}
