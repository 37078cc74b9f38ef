# Makes .venv beside this file with everything that nuguna needs. Safe to repeat, and quick when there is nothing to do.
# For Windows PowerShell 5.1 and newer:
#
#   powershell -ExecutionPolicy Bypass -File setup_environment.ps1 [-Quiet]     -Quiet: say nothing when there is nothing to do
#
#   $env:PYTHON = 'C:\path\to\python.exe'     the Python to use
#   $env:NUGUNA_TORCH = 'cpu' or 'cuda'       the build of torch, when the machine should not be asked
#   $env:NUGUNA_LANG = 'ko' or 'en'           the language of the messages
#
# Without a network: pip's own settings hold here (PIP_FIND_LINKS, PIP_NO_INDEX).
# Exit codes: 0 ready; 1 something broke (no network, disk full); 2 something is missing here (no Python).
# setup_environment.sh is the same for macOS and Linux; what one learns, the other must too.
# This file begins with a byte order mark: without it Windows PowerShell 5.1 does not read it as UTF-8.

param([switch]$Quiet)

$ErrorActionPreference = 'Stop'

# What this release of torch has wheels for.
$OldestMinor = 10
$NewestMinor = 14
$TorchCudaIndex = 'https://download.pytorch.org/whl/cu130'   # the CUDA that this release of torch is made with
$TorchCpuGB = 3
$TorchCudaGB = 10

$Root = $PSScriptRoot
$Venv = Join-Path $Root '.venv'
$VenvPython = Join-Path $Venv 'Scripts\python.exe'
$Log = Join-Path $Venv 'setup.log'
$Stamp = Join-Path $Venv '.setup-done'              # written last: what this .venv was made for
$Unfinished = Join-Path $Venv '.setup-unfinished'   # there while packages are being written; found at the start, .venv is half-made

# They would change what Python finds and where pip installs.
foreach ($name in 'PYTHONHOME', 'PYTHONPATH', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT') {
    Remove-Item -LiteralPath "Env:$name" -ErrorAction SilentlyContinue
}
$env:PIP_USER = '0'
$env:PIP_USE_PEP517 = '1'   # old pips would build the one source package by a way that no longer works

# ---------------------------------------------------------------------------------------------------------- what is said

function Test-Korean {
    if ($env:NUGUNA_LANG -eq 'ko') { return $true }
    if ($env:NUGUNA_LANG -eq 'en') { return $false }
    foreach ($locale in $env:LC_ALL, $env:LC_MESSAGES, $env:LANG) {
        if ($locale) { return $locale.StartsWith('ko') }
    }
    return (Get-UICulture).Name.StartsWith('ko')
}
$Korean = Test-Korean

function Say([string]$Ko, [string]$En) {
    $text = $En
    if ($Korean) { $text = $Ko }
    # run.ps1 passes -Quiet: standard output belongs to training, which may print one JSON document there and nothing else.
    if ($Quiet) { [Console]::Error.WriteLine($text) } else { Write-Host $text }
}

function Stop-Setup([int]$Code, [string]$Ko, [string]$En) {
    $text = $En
    if ($Korean) { $text = $Ko }
    [Console]::Error.WriteLine($text)
    exit $Code   # `exit` in a function ends the script; the finally at the bottom still runs
}

# ---------------------------------------------------------------------------------------------------------- the machine

# The answer of a command, or nothing if it fails or is not there. What it writes to standard error is no failure of this
# script; Windows PowerShell 5.1 would otherwise stop at the first such line.
function Get-Answer([string]$Command, [string[]]$Arguments) {
    $ErrorActionPreference = 'SilentlyContinue'
    if (-not (Get-Command $Command -ErrorAction SilentlyContinue)) { return $null }
    try { $lines = & $Command @Arguments 2>$null } catch { return $null }
    if ($LASTEXITCODE -ne 0) { return $null }
    return ($lines -join "`n").Trim()
}

function Get-TorchKind {
    if ($env:NUGUNA_TORCH -and $env:NUGUNA_TORCH -ne 'auto') {
        if ('cpu', 'cuda' -contains $env:NUGUNA_TORCH) { return $env:NUGUNA_TORCH }
        Stop-Setup 2 "NUGUNA_TORCH=$($env:NUGUNA_TORCH): cpu, cuda, auto 가운데 하나여야 해요." `
            "NUGUNA_TORCH=$($env:NUGUNA_TORCH): it must be cpu, cuda or auto."
    }
    if ((Get-Answer 'nvidia-smi' @('-L')) -match 'GPU ') { return 'cuda' }
    return 'cpu'
}

function Confirm-Disk([int]$Gigabytes) {
    $free = (Get-Item -LiteralPath $Root).PSDrive.Free
    if ($null -eq $free) { return }   # what cannot be read (a network folder) is no reason to refuse
    if ($free -lt $Gigabytes * 1GB) {
        $megabytes = [int]($free / 1MB)
        Stop-Setup 1 "디스크에 빈 공간이 $megabytes MB뿐인데 $Gigabytes GB가 필요해요. 파일을 지우거나 이 폴더를 더 큰 디스크로 옮긴 뒤 다시 실행하세요: $Root" `
            "Only $megabytes MB are free on the disk and $Gigabytes GB are needed. Delete some files or move this folder to a larger disk, then run this again: $Root"
    }
}

# ---------------------------------------------------------------------------------------------------------- the Python

# Python code here uses single quotes only: Windows PowerShell 5.1 loses double ones on the way to a command.
$AboutPython = "import sys, sysconfig; print('%d.%d' % sys.version_info[:2], sysconfig.get_platform(), sys.prefix)"
$script:FoundUnusable = @()

function Test-Supported([string]$Version) {
    if ($Version -notmatch '^3\.(\d+)$') { return $false }
    return ([int]$Matches[1] -ge $OldestMinor -and [int]$Matches[1] -le $NewestMinor)
}

function Get-PythonFacts([string]$Command, [string[]]$Arguments) {
    # The `python` of a Windows without Python opens the Store and fails, so that only an answer counts.
    $answer = Get-Answer $Command ($Arguments + @('-I', '-c', $AboutPython))
    if (-not $answer) { return $null }
    $words = $answer.Split(' ', 3)
    # While .venv is activated, its own Python comes first; it cannot make itself anew.
    if ($words[2] -eq $Venv) { return $null }
    $facts = @{ Command = $Command; Arguments = $Arguments; Version = $words[0] }
    if ((Test-Supported $words[0]) -and $words[1] -eq 'win-amd64') { return $facts }
    $script:FoundUnusable += "$Command $Arguments $($words[0]) ($($words[1]))"
    return $null
}

function Find-Python {
    $script:FoundUnusable = @()
    if ($env:PYTHON) {
        $facts = Get-PythonFacts $env:PYTHON @()
        if ($facts) { return $facts }
        Say "PYTHON=$($env:PYTHON) 은(는) 쓸 수 없어 다른 Python을 찾아요." "PYTHON=$($env:PYTHON) cannot be used; looking for another Python."
    }
    foreach ($minor in 13, 12, 11, 10) {
        $facts = Get-PythonFacts 'py' @("-3.$minor")
        if ($facts) { return $facts }
    }
    foreach ($command in 'python3', 'python') {
        $facts = Get-PythonFacts $command @()
        if ($facts) { return $facts }
    }
    $seen = ''
    if ($script:FoundUnusable.Count) { $seen = ': ' + ($script:FoundUnusable -join ', ') }
    Stop-Setup 2 "64비트(x64) Python 3.$OldestMinor–3.$NewestMinor 이(가) 필요한데 없어요$seen. 설치한 뒤 새 창에서 다시 실행하세요: winget install Python.Python.3.12" `
        "A 64-bit (x64) Python 3.$OldestMinor–3.$NewestMinor is needed and was not found$seen. Install one and run this again in a new window: winget install Python.Python.3.12"
}

# ---------------------------------------------------------------------------------------------------------- the .venv

function Get-WantedState([string]$TorchKind) {
    $files = 'requirements.txt', 'requirements-torch.txt', 'pyproject.toml', 'setup_environment.ps1' |
        ForEach-Object { (Get-FileHash -Algorithm SHA256 -LiteralPath (Join-Path $Root $_)).Hash }
    return "root=$Root torch=$TorchKind files=$($files -join ',')"
}

function Test-PythonWished([string]$Version) {
    if (-not $env:PYTHON) { return $true }
    $facts = Get-PythonFacts $env:PYTHON @()
    return (-not $facts -or $facts.Version -eq $Version)
}

function Test-Ready([string]$TorchKind) {
    if (-not (Test-Path -LiteralPath $Stamp) -or (Test-Path -LiteralPath $Unfinished)) { return $false }
    if ("$(Get-Content -LiteralPath $Stamp -Encoding UTF8)" -ne (Get-WantedState $TorchKind)) { return $false }
    # The packages are looked for, not imported: that would take seconds.
    $version = Get-Answer $VenvPython @('-I', '-c', ("import sys; from importlib.util import find_spec; print('%d.%d' % sys.version_info[:2]); " +
        "sys.exit(not all(map(find_spec, ('torch', 'transformers', 'peft', 'nuguna'))))"))
    return ($version -and (Test-PythonWished $version))
}

function Test-VenvSound {
    if (Test-Path -LiteralPath $Unfinished) { return $false }
    $version = Get-Answer $VenvPython @('-I', '-c', "import sys; print('%d.%d' % sys.version_info[:2])")
    if (-not $version -or -not (Test-Supported $version) -or -not (Test-PythonWished $version)) { return $false }
    # The commands in .venv name the folder they were made for: a repository that was moved needs them anew.
    if ((Test-Path -LiteralPath $Stamp) -and -not "$(Get-Content -LiteralPath $Stamp -Encoding UTF8)".StartsWith("root=$Root torch=")) { return $false }
    return [bool](Get-Answer $VenvPython @('-I', '-m', 'pip', '--version'))
}

function New-Venv([string]$TorchKind) {
    $python = Find-Python
    if ($TorchKind -eq 'cuda') { Confirm-Disk $TorchCudaGB } else { Confirm-Disk $TorchCpuGB }
    Say "Python $($python.Version) 으로 .venv를 만들어요." "Making .venv with Python $($python.Version)."
    New-Item -ItemType Directory -Force -Path $Venv | Out-Null
    Set-Content -LiteralPath $Unfinished -Value '' -Encoding UTF8
    Get-ChildItem -LiteralPath $Venv -Force | Where-Object { $_.Name -ne '.setup-unfinished' } | Remove-Item -Recurse -Force
    if (-not (Invoke-Logged $python.Command ($python.Arguments + @('-m', 'venv', $Venv)))) { Stop-Failed }
}

# ---------------------------------------------------------------------------------------------------------- the packages

$script:LastOutput = @()

function Invoke-Logged([string]$Command, [string[]]$Arguments) {
    $ErrorActionPreference = 'Continue'   # see Get-Answer
    $lines = New-Object System.Collections.Generic.List[string]
    Add-Content -LiteralPath $Log -Encoding UTF8 -Value "`n> $Command $Arguments"
    & $Command @Arguments 2>&1 | ForEach-Object {
        $lines.Add("$_")
        Add-Content -LiteralPath $Log -Encoding UTF8 -Value "$_"
        Write-Progress -Activity 'nuguna' -Status "$_ "   # so that a long download is not taken for a hang
    }
    $succeeded = ($LASTEXITCODE -eq 0)
    Write-Progress -Activity 'nuguna' -Completed
    $script:LastOutput = $lines
    return $succeeded
}

function Install-Package([string[]]$Arguments) {
    return Invoke-Logged $VenvPython (@('-I', '-m', 'pip', '--disable-pip-version-check', '--no-input', 'install', '--progress-bar', 'off') + $Arguments)
}

function Stop-Failed {
    $script:LastOutput | Select-Object -Last 15 | ForEach-Object { [Console]::Error.WriteLine("   $_") }
    # pip ended by itself and left nothing half-written: what is installed can stay, and the next try goes on from there.
    if (Get-Answer $VenvPython @('-I', '-m', 'pip', '--version')) { Remove-Item -LiteralPath $Unfinished -Force -ErrorAction SilentlyContinue }
    [Console]::Error.WriteLine("   $Log")
    $output = $script:LastOutput -join "`n"
    if ($output -match 'No space left|not enough space|WinError 112') {
        Stop-Setup 1 "디스크가 가득 찼어요. 파일을 지운 뒤 다시 실행하세요(pip 캐시: & '$VenvPython' -m pip cache purge)." `
            "The disk is full. Delete some files and run this again (pip's cache: & '$VenvPython' -m pip cache purge)."
    } elseif ($output -match 'CERTIFICATE_VERIFY_FAILED|SSLError|certificate verify') {
        Stop-Setup 1 "보안 연결을 확인하지 못했어요. 회사나 학교의 네트워크라면 그 인증서를 알려 주세요: `$env:PIP_CERT = 'C:\path\to\cert.pem'" `
            "The secure connection could not be verified. In the network of a company or school, name its certificate: `$env:PIP_CERT = 'C:\path\to\cert.pem'"
    } elseif ($output -match 'DO NOT MATCH THE HASHES') {
        Stop-Setup 1 "내려받은 파일이 고정된 해시와 달라요. 캐시를 비우고 다시 실행하세요: & '$VenvPython' -m pip cache purge" `
            "A downloaded file does not match its pinned hash. Empty the cache and run this again: & '$VenvPython' -m pip cache purge"
    } elseif ($output -match 'NewConnectionError|NameResolutionError|name resolution|getaddrinfo|ConnectTimeout|ReadTimeout|timed out|ProxyError|Connection(Reset|Refused|Aborted)?Error|Connection (refused|reset|broken)|IncompleteRead') {
        Stop-Setup 1 "인터넷에 연결하지 못했어요. 연결(회사라면 HTTPS_PROXY)을 확인하고 다시 실행하세요." `
            "The internet could not be reached. Check the connection (in a company: HTTPS_PROXY) and run this again."
    } elseif ($output -match 'WinError 206|path too long|long path') {
        Stop-Setup 1 "폴더 이름이 너무 길어요. 이 폴더를 C:\nuguna 처럼 짧은 곳으로 옮긴 뒤 다시 실행하세요: $Root" `
            "The folder's name is too long. Move this folder to a short one such as C:\nuguna and run this again: $Root"
    } elseif ($output -match 'WinError 126|c10\.dll|fbgemm\.dll|DLL load failed') {
        Stop-Setup 1 "Visual C++ 런타임이 없어요. 설치한 뒤 다시 실행하세요: winget install Microsoft.VCRedist.2015+.x64" `
            "The Visual C++ runtime is missing. Install it and run this again: winget install Microsoft.VCRedist.2015+.x64"
    } elseif ($output -match 'Permission denied|WinError 5\b|WinError 32|Access is denied') {
        Stop-Setup 1 "이 폴더에 쓰지 못했어요. nuguna를 쓰는 창을 모두 닫고, 쓸 수 있는 폴더인지 확인한 뒤 다시 실행하세요: $Root" `
            "This folder could not be written to. Close every window that uses nuguna, make sure that the folder is yours, and run this again: $Root"
    }
    Stop-Setup 1 "설치하지 못했어요. 위의 까닭을 고친 뒤 다시 실행하세요. 처음부터 하려면: Remove-Item -Recurse -Force '$Venv'" `
        "The installation failed. Mend what is said above and run this again. To start afresh: Remove-Item -Recurse -Force '$Venv'"
}

function Install-Requirements {
    Say '패키지를 설치해요(1~3분).' 'Installing the packages (1 to 3 minutes).'
    $requirements = Join-Path $Root 'requirements.txt'
    $buildTools = Join-Path $Venv '.build-tools.txt'
    # What comes as source is built with the locked setuptools, not with whatever is newest that day; so it goes first.
    $keep = $false
    $lines = foreach ($line in Get-Content -LiteralPath $requirements -Encoding UTF8) {
        if ($line -match '^[A-Za-z0-9]') { $keep = $line.StartsWith('setuptools==') }
        if ($keep) { $line }
    }
    Set-Content -LiteralPath $buildTools -Value $lines -Encoding ASCII
    if (-not (Install-Package @('--no-deps', '--require-hashes', '-r', $buildTools))) { Stop-Failed }
    Remove-Item -LiteralPath $buildTools -Force
    # --no-deps: the lock is complete, and nothing may bring in a torch of its own choice.
    if (-not (Install-Package @('--no-deps', '--require-hashes', '--no-build-isolation', '-r', $requirements))) { Stop-Failed }
}

# "VERSION cuda" or "VERSION cpu", read from a file of torch's: importing it would take seconds.
$AboutTorch = "import importlib.util, pathlib, re; text = (pathlib.Path(importlib.util.find_spec('torch').origin).parent / 'version.py').read_text(); " +
    "print(re.search(r'^__version__ = .([0-9.]+[0-9])', text, re.M).group(1), 'cuda' if re.search(r'^cuda\b[^\n]*= *.[0-9]', text, re.M) else 'cpu')"

function Install-Torch([string]$TorchKind) {
    $version = (Get-Content -LiteralPath (Join-Path $Root 'requirements-torch.txt') -Encoding UTF8 |
        Where-Object { $_ -match '^torch==' }) -replace '^torch==', ''
    $there = Get-Answer $VenvPython @('-I', '-c', $AboutTorch)
    if ($there -eq "$version $TorchKind") { return }
    if ($TorchKind -eq 'cpu') {
        if ($there -eq "$version cuda") {
            Say "NVIDIA GPU가 없는데 CUDA용 torch가 설치되어 있어요. 쓰는 데는 문제없고, 몇 GB를 아끼려면 .venv 폴더를 지운 뒤 다시 실행하세요." `
                'There is no NVIDIA GPU, but torch is the CUDA build. It works; to save some gigabytes delete the folder .venv and run this again.'
            return
        }
        Say "CPU용 torch $version 을(를) 설치해요(약 200 MB)." "Installing torch $version for the CPU (about 200 MB)."
        # For Windows the ordinary wheel is the CPU build.
        if (-not (Install-Package @("torch==$version"))) { Stop-Failed }
        return
    }
    Confirm-Disk $TorchCudaGB
    Say "NVIDIA GPU용 torch $version 을(를) 설치해요(약 3 GB 내려받기)." "Installing torch $version for the NVIDIA GPU (a download of about 3 GB)."
    # For Windows the CUDA build is only in the vendor's own index.
    $arguments = @("torch==$version+$($TorchCudaIndex.Split('/')[-1])")
    if (-not $env:PIP_NO_INDEX) { $arguments += @('--index-url', $TorchCudaIndex) }
    if (-not (Install-Package $arguments)) { Stop-Failed }
}

function Install-Nuguna {
    # Built with the setuptools that is installed by now: nothing is downloaded.
    if (-not (Install-Package @('--no-deps', '--no-build-isolation', '--editable', $Root))) { Stop-Failed }
}

function Confirm-Works([string]$TorchKind) {
    Say '설치한 것이 도는지 확인해요.' 'Checking that what was installed works.'
    if (-not (Invoke-Logged $VenvPython @('-I', '-m', 'pip', 'check'))) { Stop-Failed }
    if (-not (Invoke-Logged $VenvPython @('-I', '-c', "import torch, nuguna; print('torch', torch.__version__, 'gpu', torch.cuda.is_available())"))) { Stop-Failed }
    if ($TorchKind -eq 'cuda' -and "$($script:LastOutput)" -notmatch 'gpu True') {
        Say 'torch가 NVIDIA GPU를 쓰지 못해요. GPU 드라이버를 최신으로 올린 뒤 컴퓨터를 다시 시작하세요. 그때까지는 CPU로 돌아요.' `
            "torch cannot use the NVIDIA GPU. Update the GPU's driver and restart the computer; until then the CPU does the work."
    }
}

# ---------------------------------------------------------------------------------------------------------- in order

function Test-ReadyAndSay([string]$TorchKind) {
    if (-not (Test-Ready $TorchKind)) { return $false }
    if (-not $Quiet) { Say '이미 준비되어 있어요.' 'Everything is set up already.' }
    return $true
}

$kind = Get-TorchKind
if (Test-ReadyAndSay $kind) { exit 0 }

# One set-up at a time for this folder. Windows itself gives the mutex back when a process dies.
$bytes = [Text.Encoding]::UTF8.GetBytes($Root.ToLowerInvariant())
$id = [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($bytes)).Replace('-', '').Substring(0, 32)
$mutex = New-Object System.Threading.Mutex($false, "nuguna-setup-$id")
$mine = $false
try {
    try {
        $mine = $mutex.WaitOne(1000)
        if (-not $mine) {
            Say '다른 준비 작업이 돌고 있어요. 끝나기를 기다려요.' 'Another set-up is running; waiting for it.'
            $mine = $mutex.WaitOne()
        }
    } catch [System.Threading.AbandonedMutexException] {
        $mine = $true   # its owner was killed; what it left is judged below
    }
    if (Test-ReadyAndSay $kind) { exit 0 }   # the one that we waited for did it
    $sound = Test-VenvSound
    if (Test-Path -LiteralPath $Stamp) { Remove-Item -LiteralPath $Stamp -Force }
    if ($sound) { Set-Content -LiteralPath $Unfinished -Value '' -Encoding UTF8 } else { New-Venv $kind }
    Install-Requirements
    Install-Torch $kind
    Install-Nuguna
    Confirm-Works $kind
    Remove-Item -LiteralPath $Unfinished -Force
    Set-Content -LiteralPath $Stamp -Value (Get-WantedState $kind) -Encoding UTF8
    if ($Quiet) { Say '준비가 끝났어요.' 'Everything is set up.' }
    else {
        Say "준비가 끝났어요. 이제 실행하세요: powershell -ExecutionPolicy Bypass -File `"$Root\run.ps1`"" `
            "Everything is set up. Now run: powershell -ExecutionPolicy Bypass -File `"$Root\run.ps1`""
    }
} catch [System.UnauthorizedAccessException], [System.IO.IOException] {
    Stop-Setup 1 "이 폴더에 쓰지 못했어요($($_.Exception.Message)). nuguna를 쓰는 창을 모두 닫고 다시 실행하세요: $Root" `
        "This folder could not be written to ($($_.Exception.Message)). Close every window that uses nuguna and run this again: $Root"
} finally {
    if ($mine) { $mutex.ReleaseMutex() }
    $mutex.Dispose()
}
exit 0
