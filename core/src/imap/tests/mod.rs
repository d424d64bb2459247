//! Dialogs with the server.
