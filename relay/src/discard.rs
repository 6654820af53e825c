//! A response's body that nobody wants, read so that its connection can be used again.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http_body::Body;
use tokio::time::timeout;

use crate::h1::InstanceBody;
use crate::upload::Progress;
use crate::upstream::Lease;

/// Returns when the instance has no more to do with the response: its end came, or more than `most` bytes, or nothing
/// for `patience`. In the first case the connection is kept, as far as response and request allow; in the others it is
/// closed, which tells the instance that nobody wants the rest.
pub async fn discard(
    mut body: InstanceBody,
    lease: Lease,
    upload: Rc<Progress>,
    most: u64,
    patience: Duration,
) {
    let ended = timeout(patience, read_to_end(&mut body, most)).await;
    if ended == Ok(true) && upload.is_done() {
        lease.give_back(body.into_reusable());
    }
}

/// Whether the end came within `most` bytes.
async fn read_to_end(body: &mut InstanceBody, most: u64) -> bool {
    let mut read = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > most {
            return false;
        }
    }
    true
}
