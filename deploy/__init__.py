"""What deployments are made of. Only what makes the dashboards for Grafana is Python."""
