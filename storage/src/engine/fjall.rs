//! The engine on disk.
