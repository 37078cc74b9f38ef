# Sets up if needed, then trains; every argument goes to `nuguna train`. Results land in the folder this is called from:
#
#   powershell -ExecutionPolicy Bypass -File run.ps1
#
# No param block here: PowerShell would take flags such as --data for its own.

& (Join-Path $PSScriptRoot 'setup_environment.ps1') -Quiet
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }

& (Join-Path $PSScriptRoot '.venv\Scripts\nuguna.exe') train @args
exit $LASTEXITCODE
