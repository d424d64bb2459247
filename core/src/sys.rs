//! The only unsafe code of this crate: three raw system calls that no safe wrapper offers, and handing an owned
//! file descriptor to a type that only takes raw ones.
#![expect(unsafe_code, reason = "the one module of this crate where unsafe is allowed")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Gives `fd` to a socket type of the runtime, which then owns it.
pub(crate) fn adopt<T: FromRawFd>(fd: OwnedFd) -> T {
    // SAFETY: `into_raw_fd` gives up ownership of an open descriptor, and `T` becomes its only owner.
    unsafe { T::from_raw_fd(fd.into_raw_fd()) }
}

/// Borrows the descriptor of `owner`, of which only the number is known.
pub(crate) fn borrow<T>(owner: &T, raw: RawFd) -> BorrowedFd<'_> {
    let _ = owner;
    // SAFETY: `owner` keeps the descriptor open, and the borrow of it lasts as long as the result.
    unsafe { BorrowedFd::borrow_raw(raw) }
}

/// Size of `struct io_uring_params` in 32-bit words (uapi/linux/io_uring.h).
const PARAMS_WORDS: usize = 30;
/// Header of `struct io_uring_probe` and 256 operations of 8 octets each.
const PROBE_OCTETS: usize = 16 + 256 * 8;
const IORING_REGISTER_PROBE: libc::c_uint = 8;

/// Creates and closes a small ring, asking the three system calls that the runtime needs in turn.
/// Returns how many operations the kernel knows.
pub(crate) fn probe_io_uring() -> io::Result<u8> {
    let mut params = [0_u32; PARAMS_WORDS];
    // SAFETY: `params` is a zeroed, writable `io_uring_params` that outlives the call.
    let fd = checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4_u32, params.as_mut_ptr()) })?;
    // SAFETY: the kernel just returned this descriptor and nobody else knows it.
    let ring = unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) };

    let mut probe = [0_u64; PROBE_OCTETS / 8];
    // SAFETY: `probe` has room for the header and the 256 operations announced to the kernel.
    checked(unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            IORING_REGISTER_PROBE,
            probe.as_mut_ptr(),
            256_u32,
        )
    })?;
    // SAFETY: submits nothing, waits for nothing, passes no signal mask.
    checked(unsafe {
        let no_mask = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 0_u32, 0_u32, 0_u32, no_mask, 0_usize)
    })?;
    // The second octet of the header is `ops_len`.
    Ok(probe[0].to_ne_bytes()[1])
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Makes the kernel refuse, so that tests see the real refusal.
    use std::io;

    /// Makes `syscall` fail with `errno` for the calling thread (and those it starts), for good.
    pub(crate) fn deny_syscall(syscall: libc::c_long, errno: libc::c_int) -> io::Result<()> {
        const LOAD_NUMBER: u16 = 0x20;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        let number = u32::try_from(syscall).map_err(io::Error::other)?;
        let answer = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
        let mut filter = [
            libc::sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
            libc::sock_filter { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: number },
            libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: answer },
            libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: changes attributes of this thread only; `program` and the filter it points to
        // live until the kernel has copied them.
        let (privileges, filtered) = unsafe {
            (
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
            )
        };
        if privileges != 0 || filtered != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
