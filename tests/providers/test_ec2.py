"""EC2 as a provider: what is ordered, what is refused, what is made of the account; over HTTP."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gpuctl.clients import aws_lookups
from gpuctl.clients.aws_wire import QuotaRefused
from gpuctl.errors import ApiError, NoCapacity, NotFound, UsageError
from gpuctl.models import Json, MachineRequest
from gpuctl.providers.ec2 import Ec2Provider, region_of
from gpuctl.providers.ec2_account import Ec2Account
from gpuctl.providers.ec2_order import Launch
from gpuctl.services import ec2_preparing
from gpuctl.services.ec2_preparing import GROUP_TAG, Wishes
from gpuctl.services.ec2_script import user_data
from tests.support.moto_aws import DLAMI, NEED, REGION, MotoAws, moto_aws
from tests.support.recorder import Recorder

NUMBERS = itertools.count()
WISHES = Wishes(
    region=REGION,
    types=("g4dn.xlarge", "g5.xlarge"),
    ami_parameter=DLAMI,
    user="ubuntu",
    ttl_s=5400.0,
    expires_at="2026-11-21T18:00:00Z",
    is_spot=False,
    subnet_id=None,
    admitted="203.0.113.7/32",
    address_url="http://127.0.0.1:9/",
    timeout_s=10.0,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoAws]:
    with moto_aws(tmp_path_factory.mktemp("aws") / "sim") as found:
        yield found


@pytest.fixture
def aws(shared: MotoAws) -> Iterator[MotoAws]:
    yield shared
    shared.clear()


@pytest.fixture(scope="module")
def usual(shared: MotoAws) -> Launch:
    """What the usual wishes come to; nothing of it is billed."""
    return launch_of(shared)


def request() -> MachineRequest:
    """Under a name of its own, as every create has."""
    name = f"gpuctl-whisper-01test{next(NUMBERS)}"
    return MachineRequest(name=name, workload="whisper", need=NEED)


def public_line(aws: MotoAws) -> str:
    return aws.key.with_suffix(".pub").read_text(encoding="utf-8").strip()


def launch_of(aws: MotoAws, wishes: Wishes = WISHES, recorder: Recorder | None = None) -> Launch:
    report = recorder or Recorder()
    return ec2_preparing.launch_of(wishes, aws.access, aws.api(), public_line(aws), report)


def created(aws: MotoAws, launch: Launch, order: MachineRequest | None = None) -> Json:
    """The raw instance that the first offer becomes."""
    provider = Ec2Provider({REGION: aws.api()}, "ubuntu", launch)
    offer = provider.offers(NEED, cloud="", gpu_count=1)[0]
    return aws.api().instance(provider.create(order or request(), offer).id)


def test_an_instance_cannot_outlive_its_end_and_takes_its_encrypted_disk_along(
    aws: MotoAws, usual: Launch
) -> None:
    order = request()
    instance = created(aws, usual, order)
    instance_id = str(instance["InstanceId"])
    assert aws.api().ends_at_shutdown(instance_id)
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    (mapping,) = instance["BlockDeviceMappings"]
    assert mapping["Ebs"]["DeleteOnTermination"] is True
    (disk,) = [d for d in aws.api().disks() if d["VolumeId"] == mapping["Ebs"]["VolumeId"]]
    assert (disk["Encrypted"], disk["VolumeType"], disk["Size"]) == (True, "gp3", 60)
    held = {h.kind: h for h in Ec2Account(aws.api()).holdings() if h.tag}
    assert held["disk"].ends_with_them, "panic does not count it as storage that stays"
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags["gpuctl:name"] == tags["Name"] == order.name
    assert tags["gpuctl:workload"] == "whisper"
    assert tags["gpuctl:expires-at"] == "2026-11-21T18:00:00Z"
    aws.api().terminate(instance_id)
    assert mapping["Ebs"]["VolumeId"] not in [d["VolumeId"] for d in aws.api().disks()]


def test_the_timer_is_the_first_line_of_the_user_data_with_the_minutes_that_were_asked_for() -> (
    None
):
    interpreter, timer, _ = user_data(45, "admin").split("\n", 2)
    assert interpreter == "#!/bin/sh"
    assert timer.startswith("shutdown -P +45 ")
    assert "sleep 2700;" in timer
    assert '\nuser="admin"\n' in user_data(45, "admin")


def test_the_machine_image_comes_from_the_public_parameter(aws: MotoAws, usual: Launch) -> None:
    assert usual.ami == aws_lookups.parameter(aws.access, REGION, DLAMI, 10.0)
    with pytest.raises(NotFound, match="no parameter /aws/service/none"):
        launch_of(aws, replace(WISHES, ami_parameter="/aws/service/none"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"ami": "ami-0123456789abcdef0"}, NotFound),
        ({"key_name": "nobody"}, NotFound),
        ({"group_id": "sg-12345678"}, NotFound),
    ],
)
def test_a_wrong_image_key_or_group_is_named_and_rents_nothing(
    aws: MotoAws, usual: Launch, change: dict[str, str], error: type[Exception]
) -> None:
    launch = replace(usual, **change)
    provider = Ec2Provider({REGION: aws.api()}, "ubuntu", launch)
    with pytest.raises(error):
        provider.create(request(), provider.offers(NEED, cloud="", gpu_count=1)[0])
    assert aws.running() == []


def test_a_type_that_does_not_exist_is_named_before_anything_is_made(aws: MotoAws) -> None:
    with pytest.raises(UsageError, match=r"g9x\.huge") as caught:
        launch_of(aws, replace(WISHES, types=("g9x.huge",)))
    assert "--type" in str(caught.value.hint)


def test_types_are_swept_first_anywhere_then_zone_by_zone(aws: MotoAws, usual: Launch) -> None:
    provider = Ec2Provider({REGION: aws.api()}, "ubuntu", usual)
    offers = provider.offers(NEED, cloud="", gpu_count=1)
    t4 = [offer.data_centers[0] for offer in offers if offer.gpu_id == "g4dn.xlarge"]
    assert t4[0] == REGION
    assert t4[1:] == sorted(t4[1:])
    assert all(region_of(zone) == REGION for zone in t4)
    assert [offer.gpu_id for offer in offers].index("g5.xlarge") == len(t4)
    assert "Placement" not in provider.body(request(), offers[0])
    assert provider.body(request(), offers[1])["Placement"] == {"AvailabilityZone": t4[1]}
    large = provider.offers(replace(NEED, vram_gb=20), cloud="", gpu_count=1)
    assert {offer.gpu_id for offer in large} == {"g5.xlarge"}


def test_no_capacity_is_told_apart_from_a_quota(aws: MotoAws, usual: Launch) -> None:
    aws.fault("ec2-no-capacity", "g4dn")
    with pytest.raises(NoCapacity, match="InsufficientInstanceCapacity") as caught:
        created(aws, usual)
    assert not isinstance(caught.value, QuotaRefused)


@pytest.mark.parametrize(
    ("is_spot", "code", "title"),
    [
        (False, "L-DB2E81BA", "Running On-Demand G and VT instances"),
        (True, "L-3819A6DF", "All G and VT Spot Instance Requests"),
    ],
)
def test_a_quota_that_is_too_small_is_named_and_linked_before_anything_is_made(
    aws: MotoAws, is_spot: bool, code: str, title: str
) -> None:
    aws.fault("ec2-quota", "0")
    with pytest.raises(QuotaRefused, match="0 vCPUs") as caught:
        launch_of(aws, replace(WISHES, is_spot=is_spot))
    assert title in caught.value.message
    assert f"{REGION}.console.aws.amazon.com" in str(caught.value.hint)
    assert str(caught.value.hint).endswith(code)
    assert caught.value.exit_code == 5


def test_what_runs_counts_towards_the_quota_and_larger_types_are_left_out(
    aws: MotoAws, usual: Launch
) -> None:
    wishes = replace(WISHES, types=("g4dn.2xlarge", "g4dn.xlarge"))
    assert launch_of(aws, wishes).types == ("g4dn.2xlarge", "g4dn.xlarge")
    created(aws, usual)  # 4 of the 8 vCPUs
    assert launch_of(aws, wishes).types == ("g4dn.xlarge",)


def test_ssh_is_open_to_the_caller_alone_whatever_was_there_before(
    aws: MotoAws, usual: Launch
) -> None:
    first = usual.group_id
    aws.api().admit(first, _rule("0.0.0.0/0", 9090))
    moved = launch_of(aws, replace(WISHES, admitted="198.51.100.9/32")).group_id
    assert moved == first, "the group is found again by its tag"
    (group,) = [g for g in aws.api().groups(GROUP_TAG, None) if g["GroupId"] == first]
    assert [_opened(rule) for rule in group["IpPermissions"]] == [(22, ["198.51.100.9/32"])]
    launch_of(aws, replace(WISHES, admitted="2001:db8::1/128"))
    (group,) = [g for g in aws.api().groups(GROUP_TAG, None) if g["GroupId"] == first]
    assert [rule["Ipv6Ranges"][0]["CidrIpv6"] for rule in group["IpPermissions"]] == [
        "2001:db8::1/128"
    ]
    launch_of(aws)


def test_a_foreign_group_of_our_name_is_left_alone(aws: MotoAws, tmp_path: Path) -> None:
    region = "eu-west-1"
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXs9uP7Aao9hjWxtwn3PUrzsOs3eb+HyFDo/KAMHm8K"
    key_id = ec2_preparing._key_id(line)
    foreign = aws.api(region).make_group(f"gpuctl-{key_id}", "theirs", None, {"owner": "them"})
    wishes = replace(WISHES, region=region)
    launch = ec2_preparing.launch_of(wishes, aws.access, aws.api(region), line, Recorder())
    assert launch.group_id != foreign
    again = ec2_preparing.launch_of(wishes, aws.access, aws.api(region), line, Recorder())
    assert again.group_id == launch.group_id


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "everywhere"])
def test_ssh_is_never_opened_to_the_world(aws: MotoAws, network: str) -> None:
    with pytest.raises(UsageError) as caught:
        launch_of(aws, replace(WISHES, admitted=network))
    assert "--from" in str(caught.value.hint)


def test_an_address_that_cannot_be_asked_for_can_be_said(aws: MotoAws) -> None:
    with pytest.raises(ApiError) as caught:
        launch_of(aws, replace(WISHES, admitted=None))
    assert "--from" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("body", "address"), [("203.0.113.9\n", "203.0.113.9"), ("<html>busy</html>", None)]
)
def test_our_address_is_what_the_world_says_it_is(body: str, address: str | None) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        asked = replace(
            WISHES, admitted=None, address_url=f"http://127.0.0.1:{server.server_address[1]}/"
        )
        try:
            if address is None:
                with pytest.raises(ApiError, match="does not tell"):
                    ec2_preparing.admitted_network(asked)
            else:
                assert ec2_preparing.admitted_network(asked) == f"{address}/32"
        finally:
            server.shutdown()
            thread.join()


def test_the_key_is_imported_once(aws: MotoAws, usual: Launch) -> None:
    assert launch_of(aws).key_name == usual.key_name
    assert aws.api().key_is_there(usual.key_name)


def test_a_call_that_is_repeated_makes_no_second_instance(aws: MotoAws, usual: Launch) -> None:
    order = request()
    assert created(aws, usual, order)["InstanceId"] == created(aws, usual, order)["InstanceId"]
    assert len(aws.running()) == 1


def test_a_spot_instance_is_one_that_ends_instead_of_stopping(aws: MotoAws, usual: Launch) -> None:
    launch = replace(usual, is_spot=True)
    assert created(aws, launch)["InstanceLifecycle"] == "spot"
    provider = Ec2Provider({REGION: aws.api()}, "ubuntu", launch)
    body = provider.body(request(), provider.offers(NEED, cloud="", gpu_count=1)[0])
    assert body["InstanceMarketOptions"]["SpotOptions"]["InstanceInterruptionBehavior"] == (
        "terminate"
    )


def test_a_subnet_that_is_named_gives_a_public_address_all_the_same(
    aws: MotoAws, usual: Launch
) -> None:
    found = aws.api()._asked("describe_subnets")["Subnets"][0]
    wishes = replace(WISHES, subnet_id=found["SubnetId"])
    launch = launch_of(aws, wishes)
    instance = created(aws, launch)
    assert instance["SubnetId"] == found["SubnetId"]
    (shown,) = instance["NetworkInterfaces"]
    assert [group["GroupId"] for group in shown["Groups"]] == [launch.group_id]
    provider = Ec2Provider({REGION: aws.api()}, "ubuntu", launch)
    offers = provider.offers(NEED, cloud="", gpu_count=1)
    assert [offer.gpu_id for offer in offers] == ["g4dn.xlarge", "g5.xlarge"], "one zone, no sweep"
    (interface,) = provider.body(request(), offers[0])["NetworkInterfaces"]
    assert interface["AssociatePublicIpAddress"] is True


def test_only_instances_of_ours_are_listed_and_one_that_is_gone_is_gone(
    aws: MotoAws, usual: Launch
) -> None:
    instance = created(aws, usual)
    foreign = {
        "ImageId": instance["ImageId"],
        "InstanceType": "t3.micro",
        "KeyName": instance["KeyName"],
        "MinCount": 1,
        "MaxCount": 1,
    }
    aws.api().run(foreign)
    provider = Ec2Provider({REGION: aws.api()}, "ubuntu")
    assert [machine.id for machine in provider.list()] == [instance["InstanceId"]]
    provider.terminate(str(instance["InstanceId"]))
    assert provider.get(str(instance["InstanceId"])).status == "TERMINATED"
    assert provider.list() == []
    provider.terminate("i-0123456789abcdef0")
    with pytest.raises(NotFound):
        provider.get("i-0123456789abcdef0")


def test_an_instance_is_found_in_whatever_region_it_is(aws: MotoAws, usual: Launch) -> None:
    instance = created(aws, usual)
    provider = Ec2Provider({"eu-west-1": aws.api("eu-west-1"), REGION: aws.api()}, "ubuntu")
    found = provider.get(str(instance["InstanceId"]))
    assert found.data_center is not None
    assert region_of(found.data_center) == REGION


def _rule(network: str, port: int) -> Json:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "IpRanges": [{"CidrIp": network}],
    }


def _opened(rule: Json) -> tuple[int, list[str]]:
    return int(rule["FromPort"]), [each["CidrIp"] for each in rule["IpRanges"]]
