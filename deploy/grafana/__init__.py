"""The dashboards for Grafana, made from the metrics that processes export: `make dashboards`."""
