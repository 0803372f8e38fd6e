#!/usr/bin/env python3
"""Asks a running exporter for its verdict on every case of a gateway fault lab.

    drive.py MAP.json EXPORTER VERDICTS.json [--without-backends]

MAP.json is the output of the lab at its start: {"controls": {"dns_name", "expect_ip", "tcp", "url"}, "cases": {id: {"url",
"host", "gateway", "resolver", "ca_file", "origin_connect", "origin_host", "origin_sni", …}}}.
EXPORTER is the binary. It runs on a free port of loopback with one module for each resolver, and is stopped at the end. The
parameter `backend` is the upstream of each gateway, unless --without-backends is given.
VERDICTS.json gets {id: {"link", "cause", "side"}} in the terms of the lab, for its scorer, and also the certainty, the rule
that matched, and the machine that responded. Only Python's standard library is needed.
"""

import concurrent.futures
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

LINKS = {"network": "path", "tls": "edge_tls", "upstream": "gateway_origin"}

# Reasons of the exporter and causes of the lab, where the lab does not use the same word without the family.
CAUSES = {
    "dns.timed_out": "dns_timeout",
    "tcp.refused": "connection_refused",
    "tcp.timed_out": "connection_timeout",
    "tcp.reset": "connection_terminated",
    "tcp.address_unreachable": "destination_ip_unroutable",
    "tls.not_supported": "tls_protocol_error",
    "tcp.closed": "connection_terminated",
    "tcp.no_response": "x_tls_handshake_timeout",
    "tls.closed": "connection_terminated",
    "tls.timed_out": "x_tls_handshake_timeout",
    "tls.alert": "tls_alert_received",
    "tls.version_or_cipher_mismatch": "tls_alert_received",
    "tls.protocol_error": "tls_protocol_error",
    "http.timed_out_waiting": "http_response_timeout",
    "http.timed_out_mid_body": "connection_read_timeout",
    "http.closed_before_response": "connection_terminated",
    "http.closed_mid_body": "http_response_incomplete",
    "http.response.invalid": "http_protocol_error",
    "http.response.header_too_large": "http_response_header_section_size",
    "http.response.redirect_loop": "x_redirect_loop",
    "tls.required": "x_tls_expected_plaintext",
    "http.slow": "x_origin_slow",
    "http.excess_body": "x_body_overrun",
    "origin.status": "x_origin_status",
    "origin.slow": "x_origin_slow",
    "upstream.tls_required": "x_tls_expected_plaintext",
    "local.captive_portal": "x_captive_portal",
    "local.resolver_unreachable": "x_resolver_unreachable",
    "edge.denied": "http_request_denied",
    "edge.rate_limited": "http_request_denied",
    "edge.not_found": "destination_not_found",
    "edge.overloaded": "connection_limit_reached",
    "edge.internal_error": "proxy_internal_error",
    "edge.request_refused": "http_request_error",
    "edge.loop": "proxy_loop_detected",
}


def cause(reason, phase):
    family, _, rest = reason.partition(".")
    if (reason, phase) == ("tcp.reset", "transfer"):
        return "http_response_incomplete"
    if reason in CAUSES:
        return CAUSES[reason]
    if reason.startswith("tls.cert"):
        return "tls_certificate_error"
    return "dns_error" if family == "dns" else rest


def configuration(controls, cases):
    """One module for each resolver and CA. Returns the configuration and the module of each case."""
    names, module_of = {}, {}
    lines = [
        "policy: open",
        "controls:",
        f"  - {{name: {controls['dns_name']}, expect: [{controls['expect_ip']}]}}",
        f"  - {{address: \"{controls['tcp']}\"}}",
        f"  - {{url: \"{controls['url']}\"}}",
        "modules:",
    ]
    for case_id, case in cases.items():
        key = (case["resolver"], case["ca_file"])
        if key not in names:
            names[key] = f"m{len(names)}"
            lines += [
                f"  {names[key]}:",
                "    prober: http",
                "    timeout: 6s",
                f"    resolver: [\"{key[0]}\"]",
                "    diagnostics: {reference_request: true}",
                "    http:",
                "      fail_if_slower_than: 1s",
                "      preferred_ip_protocol: ip4",
                f"      tls_config: {{ca_file: {key[1]}}}",
            ]
        module_of[case_id] = names[key]
    return "\n".join(lines) + "\n", module_of


def backend(case):
    """The gateway's upstream as the value of the parameter `backend`."""
    tls = f";tls;sni={case['origin_sni']}" if case["origin_sni"] else ""
    return f"origin@{case['origin_connect']}{tls};host={case['origin_host']}"


def ask(base, module, case, with_backends):
    parameters = {"module": module, "target": case["url"]}
    if case["gateway"]:
        parameters["hostname"] = case["host"]
        if with_backends:
            parameters["backend"] = backend(case)
    with urllib.request.urlopen(f"{base}/probe?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
        evidence_id = answer.headers["X-Glassbox-Evidence"]
        answer.read()
    with urllib.request.urlopen(f"{base}/evidence/{evidence_id}.json", timeout=30) as answer:
        verdict = json.load(answer)["verdict"]
    if verdict is None:
        return {"link": "none", "cause": "x_none", "side": None}
    link = LINKS.get(verdict["link"], verdict["link"])
    if (verdict["link"], verdict["phase"]) == ("edge", "tls"):
        # The lab attributes a connection that ends before the first byte of TLS to TLS.
        link = "edge_tls"
    return {
        "link": link,
        "cause": [cause(reason, verdict["phase"]) for reason in verdict["reasons"]],
        "side": verdict["side"],
        "certainty": verdict["certainty"],
        "rule": verdict["rule"],
        "answered_by": verdict["answered_by"],
        "sentence": verdict["sentence"],
    }


def main():
    lab, exporter, out = [word for word in sys.argv[1:] if not word.startswith("-")]
    with_backends = "--without-backends" not in sys.argv
    lab = json.loads(pathlib.Path(lab).read_text())
    cases = lab["cases"]
    text, module_of = configuration(lab["controls"], cases)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "lab.yml")
        config.write_text(text)
        process = subprocess.Popen([
            exporter, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.prober=error",
        ])
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                asked = {
                    case_id: pool.submit(ask, f"http://127.0.0.1:{port}", module_of[case_id], case, with_backends)
                    for case_id, case in cases.items()
                }
                verdicts = {case_id: verdict.result() for case_id, verdict in asked.items()}
        finally:
            process.terminate()
            process.wait()
    pathlib.Path(out).write_text(json.dumps(verdicts, indent=1))


if __name__ == "__main__":
    main()
