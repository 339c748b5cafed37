//! A certificate authority, a server's certificate from it, and another authority that knows nothing of either.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
const DAYS: [&str; 2] = ["-days", "2"];

pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// The server's is for `name`.
    pub(crate) fn make(name: &str) -> Self {
        let certificates = Self { folder: tempfile::tempdir().expect("a folder") };
        certificates.authority("ca");
        certificates.authority("other");
        let at = |file: &str| certificates.path(file).display().to_string();
        let subject = format!("/CN={name}");
        let request = ["-subj", &subject, "-keyout", &at("server.key"), "-out", &at("server.csr")];
        openssl(&[&["req"], &KEY[..], &request].concat());
        std::fs::write(certificates.path("names"), format!("subjectAltName=DNS:{name}\n")).expect("written");
        let signed = ["-in", &at("server.csr"), "-CA", &at("ca.pem"), "-CAkey", &at("ca.key"), "-CAcreateserial"];
        let out = ["-extfile", &at("names"), "-out", &at("server.pem")];
        openssl(&[&["x509", "-req"], &signed[..], &out, &DAYS].concat());
        certificates
    }

    fn authority(&self, name: &str) {
        let at = |ending: &str| self.path(&format!("{name}.{ending}")).display().to_string();
        let subject = format!("/CN={name}");
        let files = ["-subj", &subject, "-keyout", &at("key"), "-out", &at("pem")];
        openssl(&[&["req", "-x509"], &KEY[..], &DAYS, &files].concat());
    }

    /// `ca.pem`, `other.pem`, `server.pem`, `server.key`.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

fn openssl(words: &[&str]) {
    let done = Command::new("openssl").args(words).stdin(Stdio::null()).output().expect("openssl runs");
    assert!(done.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

pub(crate) fn has_openssl() -> bool {
    ["/usr/bin", "/usr/local/bin"].iter().any(|at| Path::new(at).join("openssl").is_file())
}
