use crate::support::{request, start};

#[tokio::test]
async fn with_type_policy_and_etag() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("index.html"), "<title>phone</title>").expect("written");
    std::fs::write(folder.path().join("holdfast.js"), "1").expect("written");
    let gateway = start(&["--web-dir", folder.path().to_str().expect("utf-8")]);
    let page = request(gateway.public(), "GET", "/", &[], "").await;
    assert_eq!((page.status, page.text.as_str()), (200, "<title>phone</title>"));
    assert!(page.headers["content-security-policy"].contains("default-src 'self'"));
    let script = request(gateway.public(), "GET", "/holdfast.js", &[], "").await;
    assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
    let etag = &script.headers["etag"];
    let known = request(gateway.public(), "GET", "/holdfast.js", &[("if-none-match", etag)], "").await;
    assert_eq!((known.status, known.text.as_str()), (304, ""));
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/nothing.js"] {
        assert_eq!(request(gateway.public(), "GET", path, &[], "").await.problem().0, 404, "{path}");
    }
}
