//! The allocator: mimalloc for what is small, the C library for what is large.
//!
//! A message is many small allocations, of which several threads free what others made: with the C library's allocator that
//! took a seventh of the server's processor time. But mimalloc keeps what a thread had of large ones, and there are some twenty
//! threads: fetching four messages of 100 MiB at once took 104 to 113 MiB of memory where the C library took 56. With both it
//! takes 73 MiB, and as little processor time as with mimalloc alone.
#![expect(unsafe_code, reason = "the trait of allocators is unsafe; each call is handed on as it came")]

use std::alloc::{GlobalAlloc, Layout, System};

use mimalloc::MiMalloc;

/// From this size on, in octets, an allocation is a large one: as a chunk of a message's content is, or a block of a table, also
/// one that was compressed. Such blocks come and go in any order, read by any thread. With 4 KiB a million queued messages took
/// some 4 MiB more, and a large directory while it was applied 10 MiB; with 64 KiB the server had 6 MiB more while it delivered.
const LARGE: usize = 1024;

/// From this size on, in octets, an allocation of the C library has a mapping of its own, which goes back when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 1024 * 1024;

/// So many free octets at the end of one of its heaps are kept, not given back.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 128 * 1024;

/// Fixes both settings, which the C library else changes itself: once a large allocation is freed, every heap keeps twice as much
/// as that was. A million queued messages then took 5 to 10 MiB more. To be called before there are threads.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: each call sets a number of the C library's allocator, which takes any.
    unsafe {
        // A setting that it doesn't take leaves things as they were.
        let _ = libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        let _ = libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Both allocators. Which one has an allocation, its size says.
pub struct BySize;

#[inline]
const fn is_large(octets: usize) -> bool {
    octets >= LARGE
}

// SAFETY: each allocation is handed to the one allocator that its size says, and so is what frees it: the layout that it is
// freed with is that of its allocation.
unsafe impl GlobalAlloc for BySize {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { if is_large(layout.size()) { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe {
            if is_large(layout.size()) { System.alloc_zeroed(layout) } else { MiMalloc.alloc_zeroed(layout) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises; its allocation went the same way.
        unsafe {
            if is_large(layout.size()) {
                System.dealloc(pointer, layout)
            } else {
                MiMalloc.dealloc(pointer, layout)
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises, `pointer` is of `layout`, and `size`, rounded up to its alignment, is no larger than
        // an isize. What moves to the other allocator is copied as far as both sizes reach.
        unsafe {
            match (is_large(layout.size()), is_large(size)) {
                (true, true) => System.realloc(pointer, layout, size),
                (false, false) => MiMalloc.realloc(pointer, layout, size),
                (true, false) | (false, true) => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        std::ptr::copy_nonoverlapping(pointer, moved, layout.size().min(size));
                        self.dealloc(pointer, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_grows_and_shrinks_across_the_limit_stays_as_it_was() {
        // The tests run with this allocator.
        let mut octets: Vec<u8> = Vec::new();
        for round in 0..3 {
            for size in [1, 100, super::LARGE - 1, super::LARGE, super::LARGE + 1, 5 * super::LARGE] {
                octets.resize(size, u8::try_from(size % 251).unwrap_or(0));
                octets.shrink_to_fit();
                assert_eq!((octets[0], octets.len()), (1, size), "round {round}");
            }
            for size in [super::LARGE + 1, super::LARGE, super::LARGE - 1, 1] {
                octets.truncate(size);
                octets.shrink_to_fit();
                assert_eq!((octets[0], octets.len()), (1, size), "round {round}");
                assert!(size < 100 || octets[1] == 100);
            }
        }
        let zeroed = [vec![0_u8; super::LARGE - 1], vec![0; super::LARGE]];
        assert!(zeroed.iter().flatten().all(|octet| *octet == 0));
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn the_first_large_allocation_that_is_freed_changes_nothing_for_later_ones() {
        super::keep_little();
        drop(std::hint::black_box(vec![1_u8; 16 << 20]));
        // SAFETY: it reads counters of the C library's allocator.
        let mapped = || unsafe { libc::mallinfo2() }.hblks;
        let before = mapped();
        let large: Vec<Vec<u8>> = (0..32).map(|_| std::hint::black_box(vec![1; 4 << 20])).collect();
        // Other tests run meanwhile, with few of this size.
        let own = mapped().saturating_sub(before);
        assert!(own >= 16, "{own} of {} have mappings of their own", large.len());
    }
}
