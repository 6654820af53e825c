//! What the HTTP library wants written to a client: bytes as they are, stand-ins by what they stand for.

use std::io::{self, IoSlice};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{Outlet, is_stand_in};

/// Writes as much of `slices` as the socket takes, in order. Returns how many bytes of them are done with.
///
/// # Errors
/// `WouldBlock` if the socket takes nothing; whatever makes a socket fail; that the account does not fit, see
/// [`Outlet::send`].
pub(crate) fn write(tcp: &TcpStream, outlet: &Outlet, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let plain = slices.iter().take_while(|slice| !is_stand_in(slice)).count();
    if plain == slices.len() {
        return tcp.try_write_vectored(slices);
    }
    let (plain, rest) = slices.split_at(plain);
    let length = length_of(plain);
    let written = if length == 0 { 0 } else { write_more(tcp, plain)? };
    if written < length {
        return Ok(written);
    }
    let run = rest.iter().take_while(|slice| is_stand_in(slice)).count();
    match outlet.send(tcp, length_of(&rest[..run])) {
        Ok(n) => Ok(written + n),
        // What was written is written; the next attempt tells.
        Err(_) if written > 0 => Ok(written),
        Err(error) => Err(error),
    }
}

/// Leaves the last segment open for the body that follows at once.
fn write_more(tcp: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    tcp.try_io(Interest::WRITABLE, || {
        Ok(sendmsg(tcp, slices, &mut SendAncillaryBuffer::default(), SendFlags::MORE)?)
    })
}

fn length_of(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}
