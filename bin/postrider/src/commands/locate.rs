//! Which server a command speaks to.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use postrider_core::config::Config;
use postrider_core::control::Client;

/// What the arguments say of the server.
#[derive(Debug, Default)]
pub struct Server {
    /// `--socket`
    pub socket: Option<String>,
    /// `--data`
    pub data: Option<String>,
    /// `--config`
    pub config: Option<String>,
}

impl Server {
    /// Connects to its control socket.
    pub fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.socket(configuration_file(), localserve_dir())?)?)
    }

    /// The control socket: as named, or of the configuration that is found, or of localserve.
    fn socket(&self, found: Option<PathBuf>, local: Option<PathBuf>) -> anyhow::Result<PathBuf> {
        if let Some(socket) = &self.socket {
            return Ok(PathBuf::from(socket));
        }
        if let Some(data) = &self.data {
            return Ok(Path::new(data).join("ctl"));
        }
        let named = self.config.as_ref().map(PathBuf::from);
        if let Some(file) = named.or(found) {
            return Ok(Config::load(&file)?.control_socket);
        }
        let local = local.context("which server is meant? Name it with --socket, --data or --config")?;
        Ok(Config::localserve(&local).control_socket)
    }
}

/// The configuration file that is used when none is named.
pub fn configuration_file() -> Option<PathBuf> {
    ["postrider.toml", "/etc/postrider/postrider.toml"]
        .into_iter()
        .map(PathBuf::from)
        .find(|file| file.is_file())
}

/// The directory of localserve when none is named: it stays the same for a user.
pub fn localserve_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
    Some(data.join("postrider-localserve"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_nearest_hint_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postrider.toml");
        let listener = "[[listener]]\nname = \"m\"\nprotocol = \"metrics\"\n";
        std::fs::write(&file, format!("hostname = \"a.example\"\ndata_dir = \"d\"\n{listener}")).unwrap();
        let local = Some(PathBuf::from("/l"));
        let mut server = Server::default();
        let socket =
            |server: &Server, found: Option<&PathBuf>| server.socket(found.cloned(), local.clone()).unwrap();
        assert_eq!(socket(&server, None), Path::new("/l/data/ctl"));
        assert_eq!(socket(&server, Some(&file)), dir.path().join("d/ctl"));
        server.config = Some(file.to_str().unwrap().to_owned());
        assert_eq!(socket(&server, None), dir.path().join("d/ctl"));
        server.data = Some("/data".to_owned());
        assert_eq!(socket(&server, None), Path::new("/data/ctl"));
        server.socket = Some("/s".to_owned());
        assert_eq!(socket(&server, None), Path::new("/s"));
    }

    #[test]
    fn without_any_hint_the_user_is_asked() {
        let error = Server::default().socket(None, None).unwrap_err();
        assert!(error.to_string().contains("--socket"), "{error}");
    }
}
