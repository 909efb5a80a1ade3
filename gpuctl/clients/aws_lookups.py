"""Small questions before something is rented: the newest AMI, a quota, the caller's address."""

from __future__ import annotations

import ipaddress

from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.aws_wire import client, named_errors
from gpuctl.errors import ApiError

EC2_QUOTAS = "ec2"


def parameter(access: AwsAccess, region: str, name: str, timeout_s: float) -> str:
    """The value of a (public) SSM parameter. Raises NotFound, CredentialsError, ApiError."""
    with named_errors("SSM", region):
        ssm = client(access, "ssm", region, timeout_s)
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])


def quota(access: AwsAccess, region: str, code: str, timeout_s: float) -> float:
    """The applied value of an EC2 quota. Raises NotFound when the service does not tell it,
    CredentialsError without the permission servicequotas:GetServiceQuota, ApiError."""
    with named_errors("Service Quotas", region):
        quotas = client(access, "service-quotas", region, timeout_s)
        answer = quotas.get_service_quota(ServiceCode=EC2_QUOTAS, QuotaCode=code)
        return float(answer["Quota"]["Value"])


def public_address(url: str, timeout_s: float) -> str:
    """The address under which this computer is seen, as `url` answers it in plain text.

    Raises ApiError when it cannot be asked or answers something else.
    """
    import httpx  # noqa: PLC0415  only when an instance is launched

    try:
        text = httpx.get(url, timeout=timeout_s, follow_redirects=True).raise_for_status().text
        return str(ipaddress.ip_address(text.strip()))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ApiError(f"{url} does not tell this computer's address: {error}") from error
