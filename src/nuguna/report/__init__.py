"""What a run leaves for others: report.json, report.html and the model card, from values alone."""
