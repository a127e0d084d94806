"""nginx with nchan, if installed (on Debian and Ubuntu: apt-get install libnginx-mod-nchan)."""

import shutil
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent
from depthcast.runtime.ports import free_port

MODULES: Final = (
    Path("/usr/lib/nginx/modules"),
    Path("/usr/share/nginx/modules"),
    Path("/etc/nginx/modules"),
)
CONFIGURATION: Final = """\
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000000;
    keepalive_timeout 1h;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/publish/(\\w+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_store_messages off; }}
        location ~ ^/subscribe/(\\w+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; }}
    }}
}}
"""
READY: Final = r"using the .epoll. event method()"


def command(folder: Path) -> tuple[list[str], int]:
    """How nginx is started with its files in `folder`, and the port it serves on; raises `Absent`."""
    found = [path / "ngx_nchan_module.so" for path in MODULES if (path / "ngx_nchan_module.so").exists()]
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None or not found:
        raise Absent("needs nginx and its module nchan")
    port = free_port()
    file = folder / "nginx.conf"
    text = CONFIGURATION.format(module=found[0], folder=folder, port=port)
    file.write_text(text, encoding="utf-8")
    return [program, "-e", "stderr", "-c", str(file)], port
